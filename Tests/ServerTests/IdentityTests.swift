import API
import Core
import Foundation
import TestSupport
import Testing

@testable import Server

@Suite struct IdentityTests {
    private let password = "correct horse battery"

    @Test func `of many who present the set-up code at once one becomes the owner`() async throws {
        try await TestDatabase.with { database in
            let server = try await ServerProcess.start(database: database.url)
            let code = try #require(try await setupCode(of: server))
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<4 {
                    group.addTask {
                        try await Client(server).post(
                            APIPaths.firstUser,
                            CreateFirstUserRequest(
                                setupCode: code, username: "first-\(number)", email: nil, password: password, tokenName: "t")
                        ).status
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.sorted() == [201, 409, 409, 409])
            let pool = database.pool()
            let users: Int64 = try await pool.query("SELECT count(*) AS n FROM users")[0]["n"]
            #expect(users == 1)
            await pool.close()
            await server.stop()
        }
    }

    private func setupCode(of server: ServerProcess) async throws -> String? {
        try await server.waitForLine(containing: "set-up code")
        return server.setupCode
    }

    @Test func `a wrong set-up code is refused and a used one is gone`() async throws {
        try await TestDatabase.with { database in
            let server = try await ServerProcess.start(database: database.url)
            func first(_ code: String) async throws -> Client.Answer {
                try await Client(server).post(
                    APIPaths.firstUser,
                    CreateFirstUserRequest(setupCode: code, username: "ada", email: nil, password: password, tokenName: "cli"))
            }
            let wrong = try await first("ABCD-EFGH-JKLM-NPQR")
            #expect(wrong.status == 403)
            #expect(wrong.error?.validations.first?.field == "setup_code")
            let code = try #require(try await setupCode(of: server))
            let right = try await first(code)
            #expect(right.status == 201)
            let token = try #require(try right.json(LoginResponse.self).token)
            let me = try await Client(server, token: token).get(APIPaths.me)
            #expect(try me.json(User.self).roles == ["owner"])
            #expect(try await first(code).status == 409)
            await server.stop()
        }
    }

    @Test func `guessing is slowed down with when to try again`() async throws {
        try await TestDatabase.with { database in
            let server = try await ServerProcess.start(database: database.url)
            // All at once: while one waits for another's scrypt the bucket would refill.
            let answers = try await withThrowingTaskGroup(of: Client.Answer.self) { group in
                for _ in 0..<7 {
                    group.addTask {
                        try await Client(server).post(
                            APIPaths.login, LoginRequest(username: "nobody", password: "wrong wrong wrong", tokenName: "t"))
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let wrong = answers.filter { $0.status == 401 }
            let limited = answers.filter { $0.status == 429 }
            #expect(wrong.count == 5 && limited.count == 2)
            #expect(Set(wrong.compactMap { $0.error?.message }) == ["The user name or the password is wrong."])
            #expect(limited.allSatisfy { (Int($0.header("retry-after") ?? "") ?? 0) > 0 })
            await server.stop()
        }
    }

    @Test func `a browser session works by cookie, needs our own origin for changes and ends with log-out`() async throws {
        try await TestDatabase.with { database in
            let server = try await ServerProcess.start(database: database.url)
            let pool = database.pool()
            _ = try await People.token(pool, "eve", roles: [.member])
            let passwords = Passwords()
            let hash = try await passwords.hash(Secret(password))
            try await pool.execute("UPDATE users SET password_hash = \(hash) WHERE username = 'eve'")
            await passwords.close()

            let login = LoginRequest(username: "Eve", password: password, tokenName: nil)
            let foreign = try await Client(server).with("origin", "https://evil.example").post(APIPaths.login, login)
            #expect(foreign.status == 403)
            let answer = try await Client(server).with("sec-fetch-site", "same-origin").post(APIPaths.login, login)
            #expect(answer.status == 201)
            let cookie = try #require(answer.header("set-cookie"))
            #expect(cookie.hasPrefix("slipway_session=") && cookie.contains("; HttpOnly; SameSite=Lax"))
            let browser = Client(server).with("cookie", String(cookie.prefix { $0 != ";" }))
            #expect(try await browser.get(APIPaths.me).status == 200)
            let request = CreateTokenRequest(name: "t", scope: nil, lifetimeSeconds: nil)
            #expect(try await browser.post(APIPaths.tokens, request).status == 403)
            #expect(try await browser.with("origin", "https://evil.example").post(APIPaths.tokens, request).status == 403)
            #expect(try await browser.with("origin", server.url).post(APIPaths.tokens, request).status == 201)
            for seconds in [0, -1, 366 * 86_400 + 1] {
                let made = try await browser.with("origin", server.url).post(
                    APIPaths.tokens, CreateTokenRequest(name: "t", scope: nil, lifetimeSeconds: seconds))
                #expect(made.status == 400 && made.error?.validations.first?.field == "lifetime_seconds", "\(made.text)")
            }
            let longest = CreateTokenRequest(name: "t", scope: nil, lifetimeSeconds: 366 * 86_400)
            #expect(try await browser.with("origin", server.url).post(APIPaths.tokens, longest).status == 201)
            let stored: Int64 = try await pool.query("SELECT count(*) AS n FROM login_sessions WHERE length(id_hash) = 32")[0]["n"]
            #expect(stored == 1)
            #expect(try await browser.with("origin", server.url).send("POST", APIPaths.logout).status == 204)
            #expect(try await browser.get(APIPaths.me).status == 401)
            await pool.close()
            await server.stop()
        }
    }

    @Test func `a revoked token and a suspended user are refused by every process within 2 s without notifications`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let owner = try await People.token(pool, "owner", roles: [.owner])
            let member = try await People.token(pool, "member", roles: [.member])
            let other = try await People.token(pool, "other", roles: [.member])
            let keys = ["SLIPWAY_KEYS": "k " + String(repeating: "cd", count: 32)]
            let a = try await ServerProcess.start(database: database.url, arguments: ["--notifications", "off"], environment: keys)
            let b = try await ServerProcess.start(database: database.url, arguments: ["--notifications", "off"], environment: keys)
            for server in [a, b] {
                for token in [member, other] { #expect(try await Client(server, token: token).get(APIPaths.me).status == 200) }
            }
            let list = try await Client(a, token: owner).get(APIPaths.tokens + "?all=true").json(TokenList.self)
            let token = try #require(list.tokens.first { $0.username == "member" })
            #expect(try await Client(a, token: owner).send("DELETE", APIPaths.tokens + "/" + token.id).status == 204)
            #expect(try await Client(a, token: owner).send("PUT", APIPaths.users + "/other/status/suspend").status == 200)
            let begin = ContinuousClock.now
            for server in [a, b] {
                for token in [member, other] {
                    try await eventually(within: .seconds(2) - begin.duration(to: .now), "a revoked token is refused") {
                        try await Client(server, token: token).get(APIPaths.me).status == 401
                    }
                }
            }
            await pool.close()
            await a.stop()
            await b.stop()
        }
    }

    @Test func `tokens that are unknown, expired or too small for the deed are told apart`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let expired = try await People.token(pool, "late", roles: [.owner], expired: true)
            let reader = try await People.token(pool, "reader", roles: [.owner], scope: .read)
            let caller = try await People.token(pool, "caller", roles: [.owner], scope: .gateway)
            let server = try await ServerProcess.start(database: database.url)
            #expect(try await Client(server, token: expired).get(APIPaths.me).status == 401)
            #expect(try await Client(server, token: "slip_nonsense").get(APIPaths.me).status == 401)
            #expect(try await Client(server).get(APIPaths.me).status == 401)
            #expect(try await Client(server, token: reader).get(APIPaths.me).status == 200)
            let request = CreateTokenRequest(name: "t", scope: nil, lifetimeSeconds: nil)
            let refused = try await Client(server, token: reader).post(APIPaths.tokens, request)
            #expect(refused.status == 403)
            #expect(refused.error?.message.contains("scope 'read'") == true)
            #expect(try await Client(server, token: caller).get(APIPaths.me).status == 403)
            for header in ["x-api-key", "coder-session-token"] {
                #expect(try await Client(server).with(header, reader).get(APIPaths.me).status == 200)
            }
            await pool.close()
            await server.stop()
        }
    }

    @Test func `accounts obey their rules`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let owner = try await People.token(pool, "owner", roles: [.owner])
            let admin = try await People.token(pool, "admin", roles: [.admin])
            let server = try await ServerProcess.start(database: database.url)
            let asAdmin = Client(server, token: admin)
            func make(_ name: String, _ roles: [String]) async throws -> Client.Answer {
                try await asAdmin.post(
                    APIPaths.users, CreateUserRequest(username: name, email: nil, password: password, roles: roles))
            }
            #expect(try await make("new-owner", ["owner"]).status == 403)
            #expect(try await make("owner", ["member"]).status == 409)
            #expect(try await make("-bad-", ["member"]).error?.validations.first?.field == "username")
            #expect(try await make("fine", ["king"]).error?.validations.first?.field == "roles")
            #expect(try await make("fine", ["member", "auditor"]).status == 201)
            #expect(try await asAdmin.send("PUT", APIPaths.users + "/owner/status/suspend").status == 403)
            let last = try await Client(server, token: owner).send(
                "PUT", APIPaths.users + "/owner/roles", try APICoding.encoder().encode(ChangeRolesRequest(roles: ["member"])))
            #expect(last.status == 409)
            let missing = try await asAdmin.send("POST", APIPaths.users, Data("{\"username\": 5}".utf8))
            #expect(missing.status == 400)
            #expect(missing.error?.validations.first?.field == "username")
            await pool.close()
            await server.stop()
        }
    }
}

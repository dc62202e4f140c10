import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Server

/// Changes of accounts and tokens on the audit record.
@Suite struct IdentityRecordTests {
    private let password = "correct horse battery"

    private struct Scene {
        var server: ServerProcess
        var owner: Client
        var pool: PostgresPool
    }

    private func scene(_ body: (Scene) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            let server = try await ServerProcess.start(database: database.url)
            try await server.waitForLine(containing: "set-up code")
            let code = try #require(server.setupCode)
            let first = try await Client(server).post(
                APIPaths.firstUser,
                CreateFirstUserRequest(setupCode: code, username: "ada", email: nil, password: password, tokenName: "cli"))
            let token = try #require(try first.json(LoginResponse.self).token)
            let pool = database.pool()
            try await body(Scene(server: server, owner: Client(server, token: token), pool: pool))
            await pool.close()
            await server.stop()
        }
    }

    private func facts(_ scene: Scene, _ query: String = "") async throws -> [AuditFact] {
        try await scene.owner.get("\(APIPaths.audit)/facts?limit=100\(query)").json(AuditFactList.self).facts
    }

    private func verify(_ scene: Scene) async throws -> AuditVerification {
        try await scene.owner.post(APIPaths.audit + "/verify", VerifyAuditRequest()).json(AuditVerification.self)
    }

    @Test func `every change of an account or a token is on record with who made it, to whom, and its outcome`() async throws {
        try await scene { scene in
            let owner = scene.owner
            let made = try await owner.post(
                APIPaths.users, CreateUserRequest(username: "eve", email: nil, password: password, roles: ["member"]))
            #expect(made.status == 201)
            _ = try await owner.send(
                "PUT", "\(APIPaths.users)/eve/roles",
                try APICoding.encoder().encode(ChangeRolesRequest(roles: ["auditor", "member"])))
            let login = try await Client(scene.server).post(
                APIPaths.login, LoginRequest(username: "eve", password: password, tokenName: "laptop"))
            let eve = Client(scene.server, token: try login.json(LoginResponse.self).token)
            _ = try await eve.send(
                "PUT", "\(APIPaths.users)/me/password",
                try APICoding.encoder().encode(ChangePasswordRequest(oldPassword: password, password: "another horse battery")))
            #expect(try await eve.send("POST", APIPaths.logout).status == 204)
            _ = try await owner.send("PUT", "\(APIPaths.users)/eve/status/suspend")

            let facts = try await facts(scene).reversed().map { "\($0.actor ?? "-") \($0.kind) \($0.subject)" }
            #expect(
                facts == [
                    "- identity.baseline users and tokens", "ada user.first ada", "ada token.create ada/cli", "ada user.create eve",
                    "ada user.roles eve", "eve token.create eve/laptop", "eve user.password eve", "eve token.revoke eve/laptop",
                    "ada user.status eve",
                ])
            let last = try #require(try await self.facts(scene, "&kind=user&subject=eve").first)
            #expect(last.details["roles"] == "auditor member" && last.details["status"] == "suspended")
            #expect(try await self.facts(scene, "&actor=eve").count == 3)
            #expect(try await self.facts(scene, "&kind=token.revoke").count == 1)
            let verdict = try await verify(scene)
            #expect(verdict.ok, "\(verdict.problems)")
        }
    }

    @Test func `a change that fails leaves no fact`() async throws {
        try await scene { scene in
            let request = CreateUserRequest(username: "ada", email: nil, password: password, roles: ["member"])
            #expect(try await scene.owner.post(APIPaths.users, request).status == 409)
            let roles = try APICoding.encoder().encode(ChangeRolesRequest(roles: ["member"]))
            #expect(try await scene.owner.send("PUT", "\(APIPaths.users)/ada/roles", roles).status == 409)
            #expect(try await facts(scene, "&kind=user").map(\.kind) == ["user.first"])
            let verdict = try await verify(scene)
            #expect(verdict.ok, "\(verdict.problems)")
        }
    }

    @Test func `too many attempts are on record once, without what was typed as the name`() async throws {
        try await scene { scene in
            for name in ["ada", "my secret password"] {
                await withTaskGroup(of: Void.self) { group in
                    for _ in 0..<9 {
                        group.addTask {
                            _ = try? await Client(scene.server).post(
                                APIPaths.login, LoginRequest(username: name, password: "wrong wrong wrong", tokenName: "t"))
                        }
                    }
                }
            }
            let locks = try await facts(scene, "&kind=login.locked")
            #expect(Set(locks.map(\.subject)) == ["ada", "(unknown)"] && locks.count == 2, "\(locks)")
            #expect(locks.allSatisfy { $0.actor == nil && $0.details == ["address": "127.0.0.1", "what": "log-in"] })
        }
    }

    @Test(arguments: [
        (
            "UPDATE users SET roles = '{owner}' WHERE username = 'eve'", "changed", "user eve",
            "roles (recorded: member, now: owner)"
        ),
        ("UPDATE users SET password_hash = 'x' WHERE username = 'eve'", "changed", "user eve", "password"),
        (
            "INSERT INTO users (id, organization_id, username, roles) SELECT gen_random_uuid(), id, 'mallory', '{owner}' FROM organizations",
            "inserted", "user mallory", "put in"
        ),
        (
            "UPDATE tokens SET revoked_at = NULL WHERE name = 'gone'", "changed", "token gone",
            "status (recorded: revoked, now: live)"
        ),
        ("UPDATE tokens SET hash = sha256('x') WHERE name = 'gone'", "changed", "token gone", "key"),
        ("DELETE FROM tokens WHERE name = 'gone'", "removed", "token gone", "missing"),
        (
            "UPDATE audit_facts SET body = replace(body, 'member', 'owner') WHERE kind = 'user.create'", "changed", "fact",
            "was changed"
        ),
        ("DELETE FROM audit_facts WHERE kind = 'token.revoke'", "removed", "fact", "missing"),
    ])
    func `what was changed behind the server's back is named`(sql: String, kind: String, name: String, what: String) async throws {
        try await scene { scene in
            _ = try await scene.owner.post(
                APIPaths.users, CreateUserRequest(username: "eve", email: nil, password: password, roles: ["member"]))
            let gone = try await scene.owner.post(
                APIPaths.tokens, CreateTokenRequest(name: "gone", scope: nil, lifetimeSeconds: nil))
            let id = try gone.json(CreateTokenResponse.self).token.id
            #expect(try await scene.owner.send("DELETE", "\(APIPaths.tokens)/\(id)").status == 204)
            #expect(try await verify(scene).ok)
            #expect(try await scene.pool.execute("\(unsafeSQL: sql)") == 1)
            let verdict = try await verify(scene)
            #expect(
                verdict.problems.contains { $0.kind == kind && $0.message.contains(name) && $0.message.contains(what) },
                "\(verdict.problems)")
        }
    }

    @Test func `accounts from before changes were recorded are taken over once, and named when they appear later`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let token = try await People.token(pool, "old", roles: [.owner], isRecorded: false)
            let keys = ["SLIPWAY_KEYS": KeyRing.generatedText(id: "shared")]
            let first = try await ServerProcess.start(database: database.url, environment: keys)
            func verify(_ server: ServerProcess) async throws -> AuditVerification {
                try await Client(server, token: token).post(APIPaths.audit + "/verify", VerifyAuditRequest()).json(
                    AuditVerification.self)
            }
            #expect(try await verify(first).ok)
            await first.stop()
            _ = try await People.token(pool, "late", roles: [.owner], isRecorded: false)
            let second = try await ServerProcess.start(database: database.url, environment: keys)
            let verdict = try await verify(second)
            #expect(verdict.problems.count { $0.kind == "inserted" && $0.message.contains("late") } == 1, "\(verdict.problems)")
            await pool.close()
            await second.stop()
        }
    }
}

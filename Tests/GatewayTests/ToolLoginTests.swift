import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite struct ToolLoginTests {
    /// An authorization server and a server of tools that it protects, at one address.
    final class Protected: Sendable {
        let tools = ToolUpstream()
        let forms = NIOLockedValueBox<[[String: String]]>([])
        let refusesRefresh = NIOLockedValueBox(false)
        /// Fires when a refresh token has come; the answer waits for the other one.
        let slow = NIOLockedValueBox<(asked: Signal, answer: Signal)?>(nil)
        /// Of access tokens, in seconds.
        let lifetime: Int
        let issuer: String

        init(lifetime: Int, issuer: String = "/as") {
            self.lifetime = lifetime
            self.issuer = issuer
        }

        var script: RawServer.Script {
            { connection in
                while let request = try await connection.request() {
                    let host = request.lines.first { $0.lowercased().hasPrefix("host: ") }?.dropFirst(6) ?? ""
                    let url = "http://\(host)"
                    let body = String(buffer: request.body)
                    switch request.path {
                    case "/mcp" where request.head.contains("Bearer access-token-"):
                        try await self.tools.handle(request, connection)
                    case "/mcp", "/other":
                        try await ToolUpstream.send(
                            connection, "{}", status: "401 Unauthorized",
                            extra: "WWW-Authenticate: Bearer error=\"x\", resource_metadata=\"\(url)/meta\"\r\n")
                    case "/meta":
                        try await ToolUpstream.send(
                            connection,
                            #"{"resource":"\#(url)/mcp","authorization_servers":["\#(url)/as"],"scopes_supported":["read","write"]}"#
                        )
                    case "/.well-known/oauth-authorization-server/as":
                        try await ToolUpstream.send(
                            connection,
                            """
                            {"issuer":"\(url)\(self.issuer)","authorization_endpoint":"\(url)/authorize","token_endpoint":"\(url)/token",
                            "registration_endpoint":"\(url)/register","code_challenge_methods_supported":["S256"]}
                            """)
                    case "/register": try await ToolUpstream.send(connection, #"{"client_id":"client-1"}"#, status: "201 Created")
                    case "/token": try await self.token(body, connection)
                    default: try await ToolUpstream.send(connection, "{}", status: "404 Not Found")
                    }
                }
            }
        }

        private func token(_ body: String, _ connection: RawConnection) async throws {
            var form: [String: String] = [:]
            for field in body.split(separator: "&") {
                let parts = field.split(separator: "=", maxSplits: 1).map { String($0).removingPercentEncoding ?? "" }
                form[parts[0]] = parts.count == 2 ? parts[1] : ""
            }
            let (asked, number) = (
                form,
                forms.withLockedValue { forms in
                    forms.append(form)
                    return forms.count
                }
            )
            if asked["grant_type"] == "refresh_token", let slow = slow.withLockedValue({ $0 }) {
                slow.asked.fire()
                await slow.answer.wait()
            }
            if asked["grant_type"] == "refresh_token",
                refusesRefresh.withLockedValue({ $0 }) || asked["refresh_token"] != "refresh-\(number - 1)"
            {
                return try await ToolUpstream.send(connection, #"{"error":"invalid_grant"}"#, status: "400 Bad Request")
            }
            let life = number == 1 ? lifetime : 3600
            try await ToolUpstream.send(
                connection,
                #"{"access_token":"access-token-\#(number)","token_type":"Bearer","expires_in":\#(life),"refresh_token":"refresh-\#(number)"}"#
            )
        }
    }

    private static func with(
        _ server: Protected, maxConnections: Int = 12, _ body: (Stage, Gateway) async throws -> Void
    ) async throws {
        try await Stage.with(maxConnections: maxConnections, server.script) { stage in
            try await stage.gateway { gateway in
                var change = ToolServerService.Change()
                change.url = stage.upstream + "/mcp"
                change.allowsPrivateAddresses = true
                change.auth = .oauth
                _ = try await gateway.tools.servers.create(stage.user, name: "tools", change)
                try await body(stage, gateway)
            }
        }
    }

    /// What the browser is sent with.
    private static func begin(_ gateway: Gateway, _ user: Principal) async throws -> [String: String] {
        let url = try await gateway.tools.logins.begin(user, name: "tools", redirect: "https://slipway.example.com/back")
        let parts = try #require(URLComponents(string: url))
        #expect(parts.path == "/authorize")
        return Dictionary(uniqueKeysWithValues: (parts.queryItems ?? []).map { ($0.name, $0.value ?? "") })
    }

    @Test func `a user authorizes Slipway, and an old token is made new once for all that need it`() async throws {
        let server = Protected(lifetime: 30)
        try await Self.with(server) { stage, gateway in
            let sent = try await Self.begin(gateway, stage.user)
            #expect(sent["client_id"] == "client-1" && sent["response_type"] == "code" && sent["code_challenge_method"] == "S256")
            #expect(sent["scope"] == "read write" && sent["resource"] == stage.upstream + "/mcp")
            let state = try #require(sent["state"])
            try await gateway.tools.logins.finish(stage.user, name: "tools", code: "\(state).the code")
            let form = try #require(server.forms.withLockedValue { $0.first })
            #expect(form["code"] == "the code" && form["redirect_uri"] == "https://slipway.example.com/back")
            #expect(OAuthGrant.challenge(of: form["code_verifier"] ?? "") == sent["code_challenge"])

            // It has 30 seconds left: too few for a call.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask { _ = try await ToolClient(gateway, stage.user).call("tools__echo").get() }
                }
                try await group.waitForAll()
            }
            #expect(server.forms.withLockedValue { $0.map { $0["grant_type"] ?? "" } } == ["authorization_code", "refresh_token"])
            #expect(server.tools.seen("tools/call").allSatisfy { $0.head.contains("Bearer access-token-2") })
            for table in ["ai_mcp_credentials", "ai_mcp_logins", "audit_facts", "ai_mcp_calls", "ai_mcp_results"] {
                let dump = try await stage.pool.query("SELECT string_agg(t::text, ' ') AS all FROM \(unsafeSQL: table) t")[0][
                    "all", as: String?.self]
                for secret in ["access-token", "refresh-", state, form["code_verifier"] ?? "?"] {
                    #expect(dump?.contains(secret) != true, "\(table) shows \(secret)")
                }
            }
            try await stage.expectSound(gateway)
        }
    }

    @Test func `while an authorization server thinks, the database is everybody's`() async throws {
        let server = Protected(lifetime: 30)
        try await Self.with(server, maxConnections: 4) { stage, gateway in
            let state = try #require(try await Self.begin(gateway, stage.user)["state"])
            try await gateway.tools.logins.finish(stage.user, name: "tools", code: "\(state).c")
            let slow = (asked: Signal(), answer: Signal())
            server.slow.withLockedValue { $0 = slow }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<10 {
                    group.addTask {
                        let answer = await ToolClient(gateway, stage.user).send(#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
                        guard case .message(.result(_, let list), _) = answer else {
                            throw ToolClient.Unexpected(answer: "\(answer)")
                        }
                        #expect(list.contains("tools__echo"), "\(list)")
                    }
                }
                await slow.asked.wait()
                try await eventually("nobody holds a connection") { stage.pool.load.lent == 0 && stage.pool.load.waiting == 0 }
                #expect(try await stage.count("ai_mcp_credentials", "refreshing_until > now()") == 1)
                slow.answer.fire()
                try await group.waitForAll()
            }
            #expect(server.forms.withLockedValue { $0.count } == 2)
            #expect(try await stage.count("ai_mcp_credentials", "refreshing_until IS NULL AND refreshing_by IS NULL") == 1)
        }
    }

    @Test func `another process waits for the one that gets a new token, and takes it over when that one died`() async throws {
        let server = Protected(lifetime: 30)
        try await Self.with(server) { stage, one in
            try await stage.gateway { other in
                let state = try #require(try await Self.begin(one, stage.user)["state"])
                try await one.tools.logins.finish(stage.user, name: "tools", code: "\(state).c")
                let slow = (asked: Signal(), answer: Signal())
                server.slow.withLockedValue { $0 = slow }
                async let first = ToolClient(one, stage.user).call("tools__echo")
                await slow.asked.wait()
                async let second = ToolClient(other, stage.user).call("tools__echo")
                slow.answer.fire()
                _ = try await (first.get(), second.get())
                #expect(server.forms.withLockedValue { $0.count } == 2)
                // A claim of a process that is no more.
                server.slow.withLockedValue { $0 = nil }
                try await stage.pool.execute(
                    """
                    UPDATE ai_mcp_credentials SET refreshing_by = \(UUID()), refreshing_until = now() - interval '1 second'
                    """)
                let access = try await other.tools.servers.access(stage.user, "tools")
                var logins = other.tools.logins
                logins.now = { Date().addingTimeInterval(3600) }
                #expect(try await logins.fresh(access, stage.user).tokens?.access == "access-token-3")
            }
        }
    }

    @Test func `what was begun at an old place is not ended at a new one`() async throws {
        try await Self.with(Protected(lifetime: 3600)) { stage, gateway in
            let (servers, logins) = (gateway.tools.servers, gateway.tools.logins)
            let server = try await servers.get(stage.user, name: "tools").server
            let state = try #require(try await Self.begin(gateway, stage.user)["state"])
            var move = ToolServerService.Change()
            move.url = stage.upstream + "/other"
            _ = try await servers.update(stage.user, name: "tools", move)
            let error = await #expect(throws: AppError.self) {
                try await logins.finish(stage.user, name: "tools", code: "\(state).c")
            }
            #expect(error?.code == .conflict && error?.message.contains("was changed meanwhile") == true)
            // As when the URL changes between the exchange of the code and its end.
            let grant = OAuthGrant(
                clientID: "c", tokenEndpoint: "http://h/token", redirect: "http://h/", verifier: "v", resource: server.url)
            let tokens = try OAuthTokens(#"{"access_token":"old","token_type":"bearer"}"#, grant: grant, now: Date())
            let late = await #expect(throws: AppError.self) { try await servers.signIn(stage.user, server, tokens) }
            #expect(late?.code == .conflict)
            _ = try await Self.begin(gateway, stage.user)
            move.url = "http://127.0.0.1:1/mcp"
            _ = try await servers.update(stage.user, name: "tools", move)
            let (begun, ended) = (try await stage.count("ai_mcp_logins"), try await stage.count("ai_mcp_credentials"))
            #expect(begun == 0 && ended == 0)
        }
    }

    @Test func `a log-in is ended by who began it, with its own code, once`() async throws {
        try await Self.with(Protected(lifetime: 3600)) { stage, gateway in
            let eve = try await Stage.makeUser(stage.pool, "eve")
            let state = try #require(try await Self.begin(gateway, stage.user)["state"])
            let logins = gateway.tools.logins
            for (user, code) in [(eve, "\(state).c"), (stage.user, "other.c"), (stage.user, "c"), (stage.user, "")] {
                await #expect(throws: AppError.self) { try await logins.finish(user, name: "tools", code: code) }
            }
            try await logins.finish(stage.user, name: "tools", code: "\(state).c")
            await #expect(throws: AppError.self) { try await logins.finish(stage.user, name: "tools", code: "\(state).c") }
            guard case .failure(let error) = try await ToolClient(gateway, eve).call("tools__echo") else {
                throw NeverHappenedHere()
            }
            #expect(error.message.contains("slipway mcp login tools"))
            let late = try #require(try await Self.begin(gateway, stage.user)["state"])
            try await stage.pool.execute("UPDATE ai_mcp_logins SET created_at = now() - interval '11 minutes'")
            await #expect(throws: AppError.self) { try await logins.finish(stage.user, name: "tools", code: "\(late).c") }
        }
    }

    @Test func `an authorization that is over says what to do`() async throws {
        let server = Protected(lifetime: 1)
        try await Self.with(server) { stage, gateway in
            let state = try #require(try await Self.begin(gateway, stage.user)["state"])
            try await gateway.tools.logins.finish(stage.user, name: "tools", code: "\(state).c")
            server.refusesRefresh.withLockedValue { $0 = true }
            guard case .failure(let error) = try await ToolClient(gateway, stage.user).call("tools__echo") else {
                throw NeverHappenedHere()
            }
            #expect(error.message.contains("is over") && error.message.contains("slipway mcp login tools"), "\(error)")
            #expect(server.tools.seen.isEmpty)
        }
    }

    @Test func `an authorization server that says it is another one is not used`() async throws {
        try await Self.with(Protected(lifetime: 1, issuer: "/somebody-else")) { stage, gateway in
            await #expect(throws: AppError.self) { try await Self.begin(gateway, stage.user) }
        }
    }

    @Test func `metadata is looked for where the standards say`() throws {
        #expect(
            OAuthMetadata.wellKnown("oauth-protected-resource", of: "https://a.example:8443/x/mcp?y=1")
                == [
                    "https://a.example:8443/.well-known/oauth-protected-resource/x/mcp",
                    "https://a.example:8443/.well-known/oauth-protected-resource",
                ])
        #expect(
            OAuthMetadata.places(ofIssuer: "https://a.example/t")
                == [
                    "https://a.example/.well-known/oauth-authorization-server/t",
                    "https://a.example/.well-known/openid-configuration/t",
                    "https://a.example/t/.well-known/openid-configuration",
                ])
        #expect(OAuthMetadata.resourceMetadata(inChallenge: #"Bearer realm="x", Resource_Metadata="https://a/b""#) == "https://a/b")
        // RFC 7636 appendix B.
        #expect(
            OAuthGrant.challenge(of: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        )
        let plain = #"{"issuer":"https://a","authorization_endpoint":"https://a/x","token_endpoint":"https://a/t"}"#
        #expect(throws: AppError.self, "without PKCE") { try OAuthMetadata(plain, issuer: "https://a") }
    }
}

import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Server

/// What somebody may send who means no good: every answer is a refusal that says what is wrong, never a failure of the server.
@Suite(.serialized, .timeLimit(.minutes(5))) struct HostileInputTests {
    private static let unknown = "00000000-0000-7000-8000-00000000dead"

    /// For each parameter of a path, percent-encoded.
    private static let parameters = [
        "no-id", unknown, "%00", "a%00b", "%FF%FE", "%", "a%0Ab", "..%2F..%2Fetc", "%27%20OR%201=1%20--", "%F0%9F%92%A5", "-1",
        String(repeating: "x", count: 3000),
    ]

    private static let queries = [
        "limit=abc", "limit=0", "limit=-1", "limit=1001", "limit=99999999999999999999", "after=%00", "after=nowhere", "after=-1",
        "after=99999999999999999999", "after_id=%FF", "wait=abc", "wait=-5", "user=%00", "initiator=%00", "initiator=nobody",
        "provider=%00", "model=%00", "client=%00", "session_id=%00", "task_id=x", "started_after=yesterday",
        "started_before=999999-01-01T00:00:00Z", "started_after=%00", "period=x", "period=2026-13", "period=%00", "kind=%00",
        "subject=%00", "chain=x", "before=x", "limit", "=", "&&&", "%00=%00",
    ]

    private static let bodies: [Data] = [
        Data(), Data("{".utf8), Data("[]".utf8), Data("null".utf8), Data("\"text\"".utf8), Data("12".utf8), Data("{}".utf8),
        Data("{\"\\u0000\":\"\\u0000\"}".utf8), Data([0xFF, 0xFE, 0x00]), Data("{\"name\":\"\u{1}".utf8),
        Data(String(repeating: "[", count: 50_000).utf8), Data(String(repeating: "{\"a\":", count: 20_000).utf8),
        Data("a=%00&b=%FF&=&&prompt=%00&text=%00".utf8),
    ]

    private func withServer(_ body: (ServerProcess, [RouteTable.Entry], Caller) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            let ring = KeyRing.generatedText(id: "k")
            let entries = try await RegisteredRoutes.all(database, ring: ring)
            let pool = database.pool()
            let server = try await ServerProcess.start(
                database: database.url, arguments: ["--demo-model"], environment: ["SLIPWAY_KEYS": ring])
            try await body(server, entries, Caller(server: server, pool: pool))
            let log = server.logText.split(separator: "\n").filter { $0.contains(" error slipway") || $0.contains(" critical ") }
            #expect(log.isEmpty, "\(log.prefix(5).joined(separator: "\n").prefix(4000))")
            #expect(try await Client(server).get("/healthz").status == 200)
            await pool.close()
            await server.stop()
        }
    }

    /// Somebody who may do everything. A new credential for each route: some routes end the one they are called with.
    private struct Caller {
        let server: ServerProcess
        let pool: PostgresPool

        func client(_ entrance: RouteTable.Entrance) async throws -> Client {
            let name = "owner-\(UUID().uuidString.prefix(13).lowercased())"
            let token = try await People.token(pool, name, roles: [.owner])
            guard entrance == .page else { return Client(server, token: token).with("sec-fetch-site", "same-origin") }
            let session = Credential.session()
            try await pool.execute(
                """
                INSERT INTO login_sessions (id_hash, organization_id, user_id, expires_at)
                SELECT \(session.hash), organization_id, id, now() + interval '1 hour' FROM users WHERE username = \(name)
                """)
            return Client(server).with("cookie", "slipway_session=\(session.text.reveal())").with("sec-fetch-site", "same-origin")
        }
    }

    /// No failure, and a refusal says something in the form its reader expects.
    private func check(_ answer: Client.Answer, _ what: String, _ entry: RouteTable.Entry) {
        #expect(answer.status < 500, "\(what): \(answer.status) \(answer.text.prefix(300))")
        guard answer.status >= 400, entry.entrance == .api else { return }
        #expect(answer.error?.message.isEmpty == false, "\(what): \(answer.status) \(answer.text.prefix(300))")
    }

    @Test func `hostile paths, queries and bodies on every route are refused in words`() async throws {
        try await withServer { server, entries, caller in
            for entry in entries {
                let client = try await caller.client(entry.entrance)
                let hasParameter = entry.path.contains("{") || entry.path.contains("**")
                func path(_ value: String) -> String {
                    entry.path.replacing(/\{[a-z_]+\}/, with: value).replacing("**", with: "v1/messages")
                }
                for value in hasParameter ? Self.parameters : [] {
                    let body = entry.method == "GET" ? nil : Data("{}".utf8)
                    check(
                        try await client.send(entry.method, path(value), body), "\(entry.method) \(path(String(value.prefix(40))))",
                        entry)
                }
                if entry.method == "GET" {
                    for query in Self.queries {
                        let answer = try await client.send("GET", path(Self.unknown) + "?" + query)
                        check(answer, "\(entry.method) \(entry.path)?\(query)", entry)
                    }
                } else {
                    for body in Self.bodies {
                        let what = "\(entry.method) \(entry.path) with \(String(decoding: body.prefix(40), as: UTF8.self))"
                        check(try await client.send(entry.method, path(Self.unknown), body), what, entry)
                    }
                }
            }
        }
    }

    // MARK: Fields

    private struct Fields {
        var method = "POST"
        var path: String
        var body: any Encodable

        init(_ method: String, _ path: String, _ body: any Encodable) { (self.method, self.path, self.body) = (method, path, body) }
    }

    /// Each route that takes JSON, with a body that is right but for what it refers to.
    private static var fields: [Fields] {
        [
            .init(
                "POST", APIPaths.firstUser,
                CreateFirstUserRequest(setupCode: "x", username: "u", email: "u@x.org", password: "long enough 1", tokenName: "t")),
            .init("POST", APIPaths.login, LoginRequest(username: "u", password: "long enough 1", tokenName: "t")),
            .init(
                "POST", APIPaths.users,
                CreateUserRequest(username: "somebody", email: "s@x.org", password: "long enough 1", roles: ["member"])),
            .init(
                "PUT", APIPaths.users + "/\(unknown)/password", ChangePasswordRequest(oldPassword: "x", password: "long enough 1")),
            .init("PUT", APIPaths.users + "/\(unknown)/roles", ChangeRolesRequest(roles: ["member"])),
            .init("POST", APIPaths.tokens, CreateTokenRequest(name: "t", scope: "all", lifetimeSeconds: 3600)),
            .init(
                "POST", APIPaths.providers,
                CreateAIProviderRequest(
                    name: "mine", displayName: "Mine", type: "anthropic", baseURL: "https://example.com", apiKey: "k",
                    allowPrivate: false)),
            .init(
                "PATCH", APIPaths.providers + "/mine",
                UpdateAIProviderRequest(
                    displayName: "M", baseURL: "https://example.com", apiKey: "k", enabled: true, allowPrivate: false)),
            .init(
                "POST", APIPaths.models,
                SetModelPriceRequest(
                    type: "anthropic", model: "m", inputPerMillion: 1, outputPerMillion: 1, cacheReadPerMillion: 1,
                    cacheWritePerMillion: 1)),
            .init(
                "POST", APIPaths.modelPolicies,
                CreateModelPolicyRequest(name: "p", models: ["none-such"], roles: ["auditor"], users: nil)),
            .init("PUT", APIPaths.users + "/me/ai/budget", SetAIBudgetRequest(capNanoDollars: 1)),
            .init("PUT", APIPaths.budgets + "/organization/day", SetAISubjectBudgetRequest(capNanoDollars: 1, hard: true)),
            .init(
                "PUT", APIPaths.limits + "/mine",
                SetAIRateLimitRequest(
                    user: "nobody", provider: "none", model: "m", perUser: true, requestsPerMinute: 1, tokensPerMinute: 1,
                    concurrency: 1)),
            .init(
                "POST", APIPaths.tasks,
                CreateTaskRequest(
                    prompt: "p", model: "demo-scripted", fileID: unknown, repositoryName: "r", baseBranch: "main",
                    limits: TaskLimits(costNanoDollars: 1, steps: 1, seconds: 1))),
            .init("POST", APIPaths.tasks + "/\(unknown)/messages", SendMessageRequest(text: "t")),
            .init("POST", APIPaths.tasks + "/\(unknown)/resume", ResumeTaskRequest(limits: TaskLimits(steps: 1))),
            .init("POST", APIPaths.workspaces, CreateWorkspaceRequest(name: "w")),
            .init(
                "POST", APIPaths.workspaces + "/\(unknown)/exec", ExecRequest(command: "true", directory: "/", timeoutSeconds: 1)),
        ]
    }

    /// What takes the place of a field's value; names for the report.
    private static func mutations(of value: Any) -> [(name: String, value: Any)] {
        let wrong: [(String, Any)] =
            value is String
            ? [("a number", 12), ("a list", ["x"]), ("an object", ["a": 1])]
            : value is [Any]
                ? [("text", "x"), ("a list of numbers", [1]), ("a list of nothing", [NSNull()]), ("a list of NULs", ["a\0"])]
                : [
                    ("text", "x"), ("a list", [1]), ("a fraction", 1.5), ("too much", 1e300), ("negative", -1),
                    ("the least", Int64.min),
                ]
        guard value is String else { return wrong + [("nothing", NSNull())] }
        return wrong + [
            ("NUL", "a\0b"), ("only NUL", "\0"), ("empty", ""), ("blank", "  \n"),
            ("half a million letters", String(repeating: "x", count: 500_000)),
            ("line ends", "a\r\nb: c"), ("a path", "../../etc/passwd"), ("marks", "\u{202E}\u{FEFF}e\u{301}💥"),
            ("nothing", NSNull()),
        ]
    }

    @Test func `a field of the wrong kind is named with what is expected`() async throws {
        try await withServer { server, _, caller in
            for route in Self.fields {
                let encoded = try APICoding.encoder().encode(route.body)
                let right = try #require(try JSONSerialization.jsonObject(with: encoded) as? [String: Any])
                #expect(!right.isEmpty)
                for (field, value) in right {
                    for (name, bad) in Self.mutations(of: value) where !(value is [String: Any]) || !(bad is [String: Any]) {
                        var body = right
                        body[field] = bad
                        try await check(route, field, name, body, caller)
                    }
                    for (inner, innerValue) in value as? [String: Any] ?? [:] {
                        for (name, bad) in Self.mutations(of: innerValue) {
                            var nested = value as? [String: Any] ?? [:]
                            nested[inner] = bad
                            var body = right
                            body[field] = nested
                            try await check(route, "\(field).\(inner)", name, body, caller)
                        }
                    }
                }
            }
        }
    }

    private func check(_ route: Fields, _ field: String, _ name: String, _ body: [String: Any], _ caller: Caller) async throws {
        let client = try await caller.client(.api)
        let answer = try await client.send(route.method, route.path, try JSONSerialization.data(withJSONObject: body))
        let what: Comment = "\(route.method) \(route.path), \(field) is \(name): \(answer.status) \(answer.text.prefix(300))"
        #expect(answer.status < 500, what)
        let isOfKind = [
            "a number", "a list", "an object", "text", "a list of numbers", "a fraction", "too much", "NUL", "a list of NULs",
        ]
        .contains(name)
        // Who refers to nothing may hear of that first, but not of a wrong kind.
        if isOfKind { #expect(answer.status == 400 || answer.status == 413 || answer.status == 429, what) }
        if answer.status == 400, isOfKind {
            let named =
                answer.error?.validations.contains {
                    $0.field == field || $0.field.hasPrefix(field + ".") || $0.field.hasPrefix(field + "[")
                } == true
            #expect(named && answer.error?.message.isEmpty == false, what)
        }
    }

    // MARK: Below HTTP

    @Test func `malformed and oversized requests are refused or cut off, and the server serves on`() async throws {
        try await withServer { server, _, caller in
            let client = try await caller.client(.api)
            let token = try #require(client.headers.first { $0.name == "authorization" }?.value)
            func get(_ target: String, _ headers: String = "") -> Data {
                Data("GET \(target) HTTP/1.1\r\nHost: x\r\nAuthorization: \(token)\r\n\(headers)\r\n".utf8)
            }
            let big = String(repeating: "x", count: 200_000)
            let cases: [(String, Data)] = [
                ("no HTTP", Data("hello\r\n\r\n".utf8)), ("zeros", Data(count: 1000)),
                ("TLS", Data([0x16, 0x03, 0x01, 0x02, 0x00, 0x01])),
                ("a method nobody knows", Data("BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n".utf8)),
                ("another version", Data("GET /healthz HTTP/3.7\r\nHost: x\r\n\r\n".utf8)),
                ("a huge header", get(APIPaths.tasks, "X-Big: \(big)\r\n")), ("a huge target", get("/" + big)),
                ("ten thousand headers", get(APIPaths.tasks, String(repeating: "X-A: b\r\n", count: 10_000))),
                ("NUL in a header", get(APIPaths.tasks, "X-A: a\0b\r\n")), ("NUL in the target", get(APIPaths.tasks + "/\0")),
                ("a header without a name", get(APIPaths.tasks, ": b\r\n")),
                ("a negative length", get(APIPaths.tasks, "Content-Length: -5\r\n")),
                ("two lengths", get(APIPaths.tasks, "Content-Length: 1\r\nContent-Length: 2\r\n")),
                ("length and chunks", get(APIPaths.tasks, "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")),
                ("chunks that are none", get(APIPaths.tasks, "Transfer-Encoding: chunked\r\n") + Data("zz\r\nnope\r\n".utf8)),
                ("a long cookie", get("/tasks", "Cookie: slipway_session=\(String(repeating: "y", count: 60_000))\r\n")),
            ]
            // A body that nobody reads is nobody's trouble.
            let harmless = ["NUL in a header", "chunks that are none"]
            for (name, bytes) in cases {
                let answer = try RawRequest.exchange(server.url, bytes)
                let status = RawRequest.status(of: answer) ?? 400
                #expect(status < 500 || status == 501 || status == 505, "\(name): \(answer.prefix(200))")
                #expect(status != 200 || harmless.contains(name), "\(name): \(answer.prefix(200))")
                #expect(try await Client(server).get("/healthz").status == 200, "\(name)")
            }
            let tooLarge = try await client.send("POST", APIPaths.tokens, Data(count: 3 << 20))
            #expect(tooLarge.status == 413 && tooLarge.error?.message.contains("larger than") == true, "\(tooLarge.text)")
        }
    }
}

import Core
import Foundation
import TestSupport
import Testing

@testable import Server

@Suite struct ConnectionTurnsTests {
    @Test func `a call is answered before anything behind it begins`() {
        var turns = ConnectionTurns()
        #expect(turns.take(.callHead) == .call)
        #expect(turns.take(.body) == .call)
        #expect(turns.take(.end) == .call)
        #expect(turns.isAnsweringCall)
        #expect(turns.take(.otherHead) == .later)
        #expect(turns.take(.callHead) == .later)
        turns.callAnswered()
        #expect(turns.take(.otherHead) == .router)
    }

    @Test func `a call waits until the router has answered all that came before`() {
        var turns = ConnectionTurns()
        for _ in 0..<2 {
            #expect(turns.take(.otherHead) == .router)
            #expect(turns.take(.end) == .router)
        }
        #expect(turns.take(.callHead) == .later)
        turns.routerAnswered()
        #expect(turns.take(.callHead) == .later)
        turns.routerAnswered()
        #expect(turns.take(.callHead) == .call)
    }

    @Test func `the rest of a call that was refused early is nobody's, and nothing overtakes it`() {
        var turns = ConnectionTurns()
        #expect(turns.take(.callHead) == .call)
        turns.refusedEarly()
        #expect(turns.take(.body) == .call)
        #expect(turns.take(.end) == .call)
        #expect(turns.take(.otherHead) == .later)
    }
}

/// The same requests through the data plane and through the router. A request whose target is a whole URL goes to the router.
@Suite struct DataPlaneTests {
    private static let messages = "/api/v2/ai-gateway/demo/v1/messages"

    private static func body(_ prompt: String, stream: Bool = false) -> String {
        """
        {"model":"demo-scripted","max_tokens":400,"stream":\(stream),"messages":[{"role":"user","content":"\(prompt)"}]}
        """
    }

    private static func request(_ path: String, _ headers: [String], _ body: String, absolute: Bool, method: String = "POST")
        -> String
    {
        let target = absolute ? "http://x\(path)" : path
        let lines = ["\(method) \(target) HTTP/1.1", "Host: x", "Content-Length: \(body.utf8.count)"] + headers
        return lines.joined(separator: "\r\n") + "\r\n\r\n" + body
    }

    /// What must be the same: not ids and dates, nor how the body is framed.
    private static func comparable(_ answer: RawExchange.Answer) -> [String] {
        let names = answer.headers.map { $0.name.lowercased() }.sorted().filter { $0 != "connection" }
        return ["\(answer.status)"] + names + [answer.header("content-type") ?? ""]
    }

    @Test func `both ways answer the same requests alike`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let token = try await People.token(pool, "caller", roles: [.member], scope: .gateway)
            let reader = try await People.token(pool, "reader", roles: [.member], scope: .read)
            await pool.close()
            let server = try await ServerProcess.start(database: database.url, arguments: ["--demo-model"])
            let key = "X-Api-Key: \(token)"
            let table: [(name: String, path: String, headers: [String], body: String)] = [
                ("whole answer", Self.messages, [key], Self.body("demo: hello")),
                ("stream", Self.messages, [key], Self.body("demo: hello", stream: true)),
                ("bearer, any case", Self.messages, ["authorization: bEaRer  \(token)"], Self.body("demo: hello")),
                ("query", Self.messages + "?beta=true", [key], Self.body("demo: hello")),
                ("chat", "/api/v2/ai-gateway/demo-openai/v1/chat/completions", [key], Self.body("demo: hello")),
                ("no token", Self.messages, [], Self.body("x")),
                ("cookie alone", Self.messages, ["Cookie: slipway_session=\(token)"], Self.body("x")),
                ("unknown token", Self.messages, ["X-Api-Key: slip_nobody"], Self.body("x")),
                ("token for reading", Self.messages, ["X-Api-Key: \(reader)"], Self.body("x")),
                ("unknown provider", "/api/v2/ai-gateway/nobody/v1/messages", [key], Self.body("x")),
                ("no provider", "/api/v2/ai-gateway/demo", [key], Self.body("x")),
                ("unknown route", "/api/v2/ai-gateway/demo/v1/nothing", [key], Self.body("x")),
                ("no JSON", Self.messages, [key], "{"),
                ("empty body", Self.messages, [key], ""),
                ("model without a price", Self.messages, [key], #"{"model":"none","max_tokens":1,"messages":[]}"#),
            ]
            for row in table {
                let plane = try RawExchange.send(server.url, [Self.request(row.path, row.headers, row.body, absolute: false)])[0]
                let router = try RawExchange.send(server.url, [Self.request(row.path, row.headers, row.body, absolute: true)])[0]
                #expect(Self.comparable(plane) == Self.comparable(router), "\(row.name): \(plane.text) / \(router.text)")
                #expect(plane.header("x-request-id")?.isEmpty == false, "\(row.name)")
                #expect((200..<300).contains(plane.status) || !plane.text.isEmpty, "\(row.name) says why")
            }
            await server.stop()
        }
    }

    @Test func `pipelined requests of both kinds are answered in their order`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let token = try await People.token(pool, "caller", roles: [.member], scope: .all)
            await pool.close()
            let server = try await ServerProcess.start(database: database.url, arguments: ["--demo-model"])
            let key = "X-Api-Key: \(token)"
            let call = Self.request(Self.messages, [key], Self.body("demo: hello"), absolute: false)
            let stream = Self.request(Self.messages, [key], Self.body("demo: hello", stream: true), absolute: false)
            let health = Self.request("/healthz", [], "", absolute: false, method: "GET")
            let missing = Self.request("/nothing", [key], "", absolute: false, method: "GET")
            let answers = try RawExchange.send(server.url, [health, call, missing, stream, call, health, missing])
            #expect(answers.map(\.status) == [200, 200, 404, 200, 200, 200, 404])
            #expect(answers[1].text.contains("\"type\":\"message\"") && answers[4].text.contains("\"type\":\"message\""))
            #expect(answers[3].text.contains("event: message_stop"))
            await server.stop()
        }
    }

    @Test func `a client that asks for it finds the connection closed after the answer`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let token = try await People.token(pool, "caller", roles: [.member], scope: .gateway)
            await pool.close()
            let server = try await ServerProcess.start(database: database.url, arguments: ["--demo-model"])
            let headers = ["X-Api-Key: \(token)", "Connection: close"]
            let answers = try RawExchange.send(
                server.url, [Self.request(Self.messages, headers, Self.body("demo: hello"), absolute: false)], untilClosed: true)
            #expect(answers.map(\.status) == [200])
            await server.stop()
        }
    }
}

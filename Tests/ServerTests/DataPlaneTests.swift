import Core
import Foundation
import HTTPTypes
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

@Suite struct DataPlaneTests {
    private static let messages = "/api/v2/ai-gateway/demo/v1/messages"

    private static func body(_ prompt: String, stream: Bool = false) -> String {
        """
        {"model":"demo-scripted","max_tokens":400,"stream":\(stream),"messages":[{"role":"user","content":"\(prompt)"}]}
        """
    }

    private static func request(_ path: String, _ headers: [String], _ body: String, method: String = "POST") -> String {
        let lines = ["\(method) \(path) HTTP/1.1", "Host: x", "Content-Length: \(body.utf8.count)"] + headers
        return lines.joined(separator: "\r\n") + "\r\n\r\n" + body
    }

    /// What must be the same: not ids and dates, nor how the body is framed.
    private static func comparable(_ answer: RawExchange.Answer) -> [String] {
        let names = answer.headers.map { $0.name.lowercased() }.sorted().filter { $0 != "connection" }
        return ["\(answer.status)"] + names + [answer.header("content-type") ?? ""]
    }

    private func withServer(_ check: (ServerProcess, _ token: String) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let token = try await People.token(pool, "caller", roles: [.member])
            await pool.close()
            let server = try await ServerProcess.start(database: database.url, arguments: ["--demo-model"])
            do { try await check(server, token) } catch {
                await server.stop()
                throw error
            }
            await server.stop()
        }
    }

    @Test func `both ways answer the same requests alike`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let token = try await People.token(pool, "caller", roles: [.member], scope: .gateway)
            let reader = try await People.token(pool, "reader", roles: [.member], scope: .read)
            let old = try await People.token(pool, "old", roles: [.member], expired: true)
            await pool.close()
            let key = "X-Api-Key: \(token)"
            let table: [(name: String, path: String, headers: [String], body: String, isTaken: Bool)] = [
                ("whole answer", Self.messages, [key], Self.body("demo: hello"), true),
                ("stream", Self.messages, [key], Self.body("demo: hello", stream: true), true),
                ("bearer, any case", Self.messages, ["authorization: bEaRer  \(token)"], Self.body("demo: hello"), true),
                ("query", Self.messages + "?beta=true", [key], Self.body("demo: hello"), true),
                ("whole URL", "http://x" + Self.messages, [key], Self.body("demo: hello"), true),
                ("chat", "/api/v2/ai-gateway/demo-openai/v1/chat/completions", [key], Self.body("demo: hello"), true),
                ("unknown provider", "/api/v2/ai-gateway/nobody/v1/messages", [key], Self.body("x"), true),
                ("nothing behind the provider", "/api/v2/ai-gateway/demo", [key], Self.body("x"), false),
                ("a slash behind the provider", "/api/v2/ai-gateway/demo/", [key], Self.body("x"), false),
                ("no provider", "/api/v2/ai-gateway//v1/messages", [key], Self.body("x"), false),
                ("slashes", "/api/v2/ai-gateway/demo//v1//messages", [key], Self.body("demo: hello"), true),
                ("encoded provider", "/api/v2/ai-gateway/%64emo/v1/messages", [key], Self.body("demo: hello"), true),
                ("provider that is no text", "/api/v2/ai-gateway/%00/v1/messages", [key], Self.body("demo: hello"), true),
                ("query that is no text", Self.messages + "?a=%00", [key], Self.body("demo: hello"), true),
                ("fragment", Self.messages + "#a", [key], Self.body("demo: hello"), true),
                ("unknown route", "/api/v2/ai-gateway/demo/v1/nothing", [key], Self.body("x"), true),
                ("no JSON", Self.messages, [key], "{", true),
                ("empty body", Self.messages, [key], "", true),
                ("model without a price", Self.messages, [key], #"{"model":"none","max_tokens":1,"messages":[]}"#, true),
                ("no token", Self.messages, [], Self.body("x"), false),
                ("cookie alone", Self.messages, ["Cookie: slipway_session=\(token)"], Self.body("x"), false),
                ("unknown token", Self.messages, ["X-Api-Key: slip_nobody"], Self.body("x"), false),
                ("token for reading", Self.messages, ["X-Api-Key: \(reader)"], Self.body("x"), false),
                ("expired token", Self.messages, ["X-Api-Key: \(old)"], Self.body("x"), false),
            ]
            try await StartedServices.with(database, demoModel: true) { services, lifecycle in
                let plane = try await StartedServices.listen(services, lifecycle, dataPlane: true)
                let router = try await StartedServices.listen(services, lifecycle, dataPlane: false)
                for row in table {
                    let request = Self.request(row.path, row.headers, row.body)
                    let (one, other) = (try RawExchange.send(plane, [request])[0], try RawExchange.send(router, [request])[0])
                    #expect(Self.comparable(one) == Self.comparable(other), "\(row.name): \(one.text) / \(other.text)")
                    #expect(one.header("x-request-id")?.isEmpty == false, "\(row.name)")
                    #expect((200..<300).contains(one.status) || !one.text.isEmpty, "\(row.name) says why")
                    #expect((services.calls.caller(of: Self.head(row.path, row.headers)) != nil) == row.isTaken, "\(row.name)")
                }
            }
        }
    }

    /// As it comes out of the codec, which makes a path of a whole URL.
    private static func head(_ path: String, _ headers: [String]) -> HTTPRequest {
        var fields = HTTPFields()
        for header in headers {
            let parts = header.split(separator: ":", maxSplits: 1)
            fields[HTTPField.Name(String(parts[0]))!] = parts[1].trimmingCharacters(in: .whitespaces)
        }
        return HTTPRequest(
            method: .post, scheme: "http", authority: "x", path: path.replacing("http://x", with: ""), headerFields: fields)
    }

    @Test func `strangers hear that they are before their body is read`() async throws {
        try await withServer { server, token in
            for stranger in ["", "slip_nobody"] {
                let status = try RawRequest.status(
                    server.url, path: Self.messages, token: stranger, bodyBytes: 30 << 20, sending: 0)
                #expect(status == 401, "'\(stranger)'")
            }
            #expect(try RawRequest.status(server.url, path: Self.messages, token: token, bodyBytes: 2, sending: 2) == 400)
        }
    }

    @Test func `pipelined requests of both kinds are answered in their order`() async throws {
        try await withServer { server, token in
            let key = "X-Api-Key: \(token)"
            let call = Self.request(Self.messages, [key], Self.body("demo: hello"))
            let stream = Self.request(Self.messages, [key], Self.body("demo: hello", stream: true))
            let health = Self.request("/healthz", [], "", method: "GET")
            let missing = Self.request("/nothing", [key], "", method: "GET")
            let stranger = Self.request(Self.messages, [], Self.body("demo: hello"))
            let answers = try RawExchange.send(server.url, [health, call, missing, stream, stranger, call, health, missing])
            #expect(answers.map(\.status) == [200, 200, 404, 200, 401, 200, 200, 404])
            #expect(answers[1].text.contains("\"type\":\"message\"") && answers[5].text.contains("\"type\":\"message\""))
            #expect(answers[3].text.contains("event: message_stop"))
        }
    }

    @Test func `a client that asks for it finds the connection closed after the answer`() async throws {
        try await withServer { server, token in
            let headers = ["X-Api-Key: \(token)", "Connection: close"]
            let answers = try RawExchange.send(
                server.url, [Self.request(Self.messages, headers, Self.body("demo: hello"))], untilClosed: true)
            #expect(answers.map(\.status) == [200])
        }
    }
}

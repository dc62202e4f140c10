import API
import Core
import Foundation
import HTTPTransport
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Server

/// Providers that misbehave, seen from the client's side of the gateway.
@Suite(.timeLimit(.minutes(5))) struct GatewayUpstreamTests {
    private static let path = CodingScene.path("anthropic", "v1/messages")

    @Test func `redirects are not followed: nobody else gets a request, a key or a token`() async throws {
        let elsewhere = NIOLockedValueBox(0)
        try await RawServer.with { connection in
            elsewhere.withLockedValue { $0 += 1 }
            try await connection.answerAll()
        } _: { other in
            let statuses = ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent", "300 Choices"]
            try await CodingScene.with { asked in
                let status = statuses[Int(asked.header("x-scene").first ?? "") ?? 0]
                return CodingScene.json("{}", status: status, headers: ["Location: \(other.url)v1/messages"])
            } _: { scene in
                for index in statuses.indices {
                    for streamed in [false, true] {
                        let answer = try await scene.client([("x-scene", "\(index)")])
                            .send("POST", Self.path, ScriptedProvider.body("hi", streamed: streamed))
                        // After some failures in a row the provider is left alone for a while.
                        #expect(
                            [502, 503].contains(answer.status) && answer.header("location") == nil,
                            "\(answer.status) \(answer.text)")
                        if index == 0 {
                            #expect(answer.text.contains("redirect (HTTP 301), which is not followed"), "\(answer.text)")
                        }
                    }
                }
                #expect(elsewhere.withLockedValue { $0 } == 0)
                let costs = try await scene.pool.query("SELECT coalesce(sum(cost), 0)::bigint AS cost FROM ai_ledger")
                #expect(try costs[0]["cost", as: Int64.self] == 0)
            }
        }
    }

    @Test func `a provider at a private address is refused unless its admin allowed it`() async throws {
        try await CodingScene.with { _ in
            CodingScene.json(CodingScene.message())
        } _: { scene in
            let admin = Client(url: scene.server.url, token: try await People.token(scene.pool, "root", roles: [.admin]))
            let port = try #require(URL(string: scene.server.url)?.port)
            // The server itself would be a fine thing to reach, and so would what a cloud keeps at its own address.
            let addresses = [
                "http://127.0.0.1:\(port)", "http://localhost:\(port)", "http://[::1]:\(port)", "http://0.0.0.0:\(port)",
                "http://2130706433:\(port)", "http://[::ffff:127.0.0.1]:\(port)", "http://169.254.169.254", "http://10.0.0.1:1",
                "http://192.168.0.1:1", "http://[fd00::1]:1",
            ]
            for (number, address) in addresses.enumerated() {
                let made = try await admin.post(
                    APIPaths.providers,
                    CreateAIProviderRequest(name: "near-\(number)", type: "anthropic", baseURL: address, apiKey: "sk-1"))
                guard made.status < 300 else {
                    #expect(made.status == 400, "\(address): \(made.text)")
                    continue
                }
                var answer = try await scene.client().send(
                    "POST", CodingScene.path("near-\(number)", "v1/messages"), ScriptedProvider.body("hi"))
                try await eventually("the provider is known") {
                    answer = try await scene.client().send(
                        "POST", CodingScene.path("near-\(number)", "v1/messages"), ScriptedProvider.body("hi"))
                    return answer.status != 404
                }
                #expect(answer.status == 403 || answer.status == 503, "\(address): \(answer.status) \(answer.text)")
                #expect(
                    answer.text.contains("private") || answer.text.contains("loopback") || answer.status == 503, "\(answer.text)")
            }
            #expect(scene.count == 0)
        }
    }

    @Test func `a client that reads slowly slows its provider down, and the server keeps little`() async throws {
        // Far more than sockets and buffers hold.
        let piece =
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\(String(repeating: "x", count: 60_000))\"}}\n\n"
        let sent = NIOLockedValueBox(0)
        let left = TestSupport.Signal()
        try await RawServer.with { connection in
            guard try await connection.request() != nil else { return }
            try await connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            defer { left.fire() }
            for _ in 0..<4000 {
                try await connection.send("\(String(piece.utf8.count, radix: 16))\r\n\(piece)\r\n")
                sent.withLockedValue { $0 += piece.utf8.count }
            }
        } _: { upstream in
            try await TestDatabase.with { database in
                let pool = database.pool()
                let token = try await People.token(pool, "ada", roles: [.member])
                let server = try await ServerProcess.start(
                    database: database.url, environment: ScriptedProvider.environment(upstream))
                let body = String(decoding: ScriptedProvider.body("hi", streamed: true), as: UTF8.self).replacing(
                    "300", with: "60000")
                let socket = try RawSocket(server.url, patience: 30, receiveBuffer: 4096)
                socket.send(
                    Data(
                        "POST \(Self.path) HTTP/1.1\r\nHost: x\r\nX-Api-Key: \(token)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                            .utf8))
                #expect(socket.receive()?.isEmpty == false)
                // It stands still once all buffers are full: then twice the same is seen.
                var before = -1
                try await eventually("the provider is slowed down") {
                    let now = sent.withLockedValue { $0 }
                    defer { before = now }
                    try await Task.sleep(for: .milliseconds(200))
                    return now > 0 && now == before
                }
                #expect(sent.withLockedValue { $0 } < 64 << 20, "of 240 MB")
                #expect(try #require(ServerProcess.peakKiB(of: server.pid)) < 400_000)
                #expect(try await Client(server).get("/healthz").status == 200)
                socket.halfClose()
                withExtendedLifetime(socket) {}
                await server.stop()
                await left.wait()
                await pool.close()
            }
        }
    }
}

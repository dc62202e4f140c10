import Core
import HTTPTransport
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

/// What happens when the other side closes a kept connection in the moment of sending: nobody knows whether it has read the request.
@Suite struct KeptConnectionTests {
    /// Answers the first request of the first connection, reads the second one and closes without a word; later connections answer.
    private static func with(
        _ body: (RawServer, HTTPTransport, _ seen: @Sendable () -> [String]) async throws -> Void
    ) async throws {
        let seen = NIOLockedValueBox<[String]>([])
        let connections = NIOLockedValueBox(0)
        try await RawServer.with { connection in
            let number = connections.withLockedValue { count in
                count += 1
                return count
            }
            while let request = try await connection.request() {
                seen.withLockedValue { $0.append("\(number) \(request.path)") }
                if number == 1, request.path == "/second" { return }
                try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            }
        } _: { server in
            try await withTransport { transport in
                _ = try await transport.send(.local(server, "first")).body.collect(upTo: 10)
                try await body(server, transport) { seen.withLockedValue { $0 } }
            }
        }
    }

    @Test(arguments: ["POST", "PATCH"]) func `a request that may have had an effect is not sent again`(method: String) async throws
    {
        try await Self.with { server, transport, seen in
            let request = HTTPClientRequest.local(server, "second", method: method, body: ByteBuffer(string: "pay"))
            let error = try await appError { _ = try await transport.send(request) }
            #expect(error.code == .upstream && error.retry == .now && error.cause is KeptConnectionClosed)
            #expect(error.message.hasSuffix("closed a kept connection without an answer"))
            #expect(seen() == ["1 /first", "1 /second"])
            // And what comes next has a connection of its own.
            _ = try await transport.send(.local(server, "third", method: method)).body.collect(upTo: 10)
            #expect(seen().count == 3)
        }
    }

    @Test(arguments: ["GET", "PUT", "DELETE"]) func `one that may be repeated is, and nobody notices`(method: String) async throws {
        try await Self.with { server, transport, seen in
            let answer = try await transport.send(.local(server, "second", method: method))
            #expect(answer.status == 200)
            #expect(seen() == ["1 /first", "1 /second", "2 /second"])
        }
    }

    @Test func `whoever sends it may say otherwise, both ways`() async throws {
        try await Self.with { server, transport, seen in
            var request = HTTPClientRequest.local(server, "second", method: "POST", body: ByteBuffer(string: "count"))
            request.mayBeSentAgain = true
            let answer = try await transport.send(request)
            #expect(answer.status == 200)
            #expect(seen() == ["1 /first", "1 /second", "2 /second"])
        }
        try await Self.with { server, transport, seen in
            var request = HTTPClientRequest.local(server, "second")
            request.mayBeSentAgain = false
            let error = try await appError { _ = try await transport.send(request) }
            #expect(error.cause is KeptConnectionClosed)
            #expect(seen() == ["1 /first", "1 /second"])
            // The connection that curl opened for its second try is accepted before this one's.
            _ = try await transport.send(.local(server, "third")).body.collect(upTo: 10)
        }
    }

    @Test func `a fresh connection is not a kept one, and is not kept`() async throws {
        try await Self.with { server, transport, seen in
            var request = HTTPClientRequest.local(server, "second", method: "POST", body: ByteBuffer(string: "call"))
            request.freshConnection = true
            for _ in 0..<2 {
                let body = try await transport.send(request).body.collect(upTo: 10)
                #expect(body.text == "ok")
            }
            _ = try await transport.send(.local(server, "third")).body.collect(upTo: 10)
            #expect(seen() == ["1 /first", "2 /second", "3 /second", "1 /third"])
        }
    }
}

import Core
import HTTPTransport
import NIOCore
import Testing

/// TLS, against a server that would also speak HTTP/2.
@Suite(.timeLimit(.minutes(1)))
struct SecureTests {
    private func request(_ server: SecureServer, _ path: String, trusted: Bool = true) -> HTTPClientRequest {
        HTTPClientRequest(url: server.url + path, allowPrivateAddresses: true, caFile: trusted ? server.caFile : nil)
    }

    @Test func `a certificate of an unknown authority is refused, and trusted when its file is named`() async throws {
        try await SecureServer.with { server in
            try await withTransport { transport in
                let error = try await appError {
                    _ = try await transport.send(request(server, "/connection", trusted: false))
                }
                #expect(error.code == .upstream && error.retry == .never)
                #expect(error.message.contains("is not trusted"))
                let answer = try await transport.send(request(server, "/connection"))
                let text = try await answer.body.collect(upTo: 100).text
                #expect(text.hasPrefix("h1:"), "HTTP/2 is not offered: see Transfer+Options.swift")
                var missing = request(server, "/connection")
                missing.caFile = "/nowhere/ca.pem"
                let unreadable = try await appError { _ = try await transport.send(missing) }
                #expect(unreadable.message.contains("/nowhere/ca.pem"))
            }
        }
    }

    @Test func `a kept connection is not lent to a call that trusts other authorities`() async throws {
        try await SecureServer.with { server in
            try await withTransport { transport in
                _ = try await transport.send(request(server, "/connection")).body.collect(upTo: 100)
                let error = try await appError {
                    _ = try await transport.send(request(server, "/connection", trusted: false))
                }
                #expect(error.message.contains("is not trusted"))
            }
        }
    }

    @Test func `calls one after the other share a connection, and 100 at once each get their answer`() async throws {
        try await SecureServer.with { server in
            try await withTransport { transport in
                var connections: Set<String> = []
                for _ in 0..<20 {
                    connections.insert(try await transport.send(request(server, "/connection")).body.collect(upTo: 100).text)
                }
                #expect(connections.count == 1)
                let answers = try await withThrowingTaskGroup(of: Bool.self) { group in
                    for n in 0..<100 {
                        group.addTask {
                            var echo = request(server, "/echo")
                            echo.method = "POST"
                            echo.body = ByteBuffer(string: "call \(n)")
                            return try await transport.send(echo).body.collect(upTo: 100) == echo.body
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(answers.count == 100 && answers.allSatisfy { $0 })
            }
        }
    }

    @Test(arguments: [false, true])
    func `a burst of 20 MB arrives whole with a fast and with a slow reader, and holds up no other call`(isSlow: Bool) async throws
    {
        try await SecureServer.with { server in
            try await withTransport { transport in
                let answer = try await transport.send(request(server, "/burst"))
                var offset = 0
                for try await piece in answer.body {
                    #expect(piece == StreamTests.expected(at: offset, count: piece.readableBytes))
                    offset += piece.readableBytes
                    if isSlow { _ = try await transport.send(request(server, "/connection")).body.collect(upTo: 100) }
                }
                #expect(offset == StreamTests.burstBytes)
            }
        }
    }

    @Test func `paused and cancelled bodies leave other calls alone`() async throws {
        try await SecureServer.with { server in
            try await withTransport { transport in
                var unread: [HTTPClientResponse] = []
                for _ in 0..<10 { unread.append(try await transport.send(request(server, "/burst"))) }
                for round in 0..<10 {
                    var echo = request(server, "/echo")
                    echo.method = "POST"
                    echo.body = StreamTests.expected(at: round, count: 65_000)
                    let answer = try await transport.send(echo).body.collect(upTo: 1 << 20)
                    #expect(answer == echo.body)
                    unread.removeLast()
                }
            }
        }
    }
}

import Core
import HTTPTransport
import NIOCore
import TestSupport
import Testing

/// Upstreams that are wrong, slow or gone: each ends in an error that names the host and the cause.
@Suite(.timeLimit(.minutes(1)))
struct FaultTests {
    /// Sends one request to a server that answers with exactly `bytes` and hangs up, and reads all of it.
    private func outcome(of bytes: String) async throws -> (error: AppError, name: String) {
        try await RawServer.with { connection in
            _ = try await connection.request()
            if !bytes.isEmpty { try await connection.send(bytes) }
        } _: { server in
            try await withTransport { transport in
                let error = try await appError {
                    _ = try await transport.send(.local(server)).body.collect(upTo: 1 << 20)
                }
                return (error, "127.0.0.1:\(server.port)")
            }
        }
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
    ])
    func `a body that ends early is an error that says how much came`(bytes: String) async throws {
        let (error, name) = try await outcome(of: bytes)
        #expect(error.code == .upstream && error.source == .upstream && error.retry == .never)
        #expect(error.message == "\(name) broke off its answer after 9 bytes of the body")
    }

    @Test func `the bytes before a cut are still delivered`() async throws {
        try await RawServer.with { connection in
            _ = try await connection.request()
            try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        } _: { server in
            try await withTransport { transport in
                var text = ""
                let error = try await appError {
                    for try await piece in try await transport.send(.local(server)).body { text += piece.text }
                }
                #expect(text == "only this")
                #expect(error.code == .upstream)
            }
        }
    }

    @Test func `a connection that closes without a word is worth another try`() async throws {
        let (error, name) = try await outcome(of: "")
        #expect(error.code == .upstream && error.retry == .now)
        #expect(error.message == "\(name) closed the connection without an answer")
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-type: x\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ])
    func `an answer that ends inside of its head is an error`(bytes: String) async throws {
        let (error, name) = try await outcome(of: bytes)
        #expect(error.code == .upstream && error.source == .upstream)
        #expect(error.message.contains(name) || error.message.contains("head of its answer"), "\(error.message)")
    }

    @Test func `an answer that is not HTTP is named so`() async throws {
        let (error, name) = try await outcome(of: "SSH-2.0-OpenSSH_9.2\r\n\r\n")
        #expect(error.code == .upstream)
        #expect(error.message.hasPrefix("\(name) does not answer with HTTP"))
    }

    @Test func `a body longer than its length is cut there`() async throws {
        try await RawServer.with { connection in
            _ = try await connection.request()
            try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour and more")
        } _: { server in
            try await withTransport { transport in
                let body = try await transport.send(.local(server)).body.collect(upTo: 100)
                #expect(body.text == "four")
            }
        }
    }

    @Test func `headers without end are refused`() async throws {
        let (error, name) = try await outcome(
            of: "HTTP/1.1 200 OK\r\n" + String(repeating: "x-filler: \(String(repeating: "y", count: 1000))\r\n", count: 400))
        #expect(error.code == .upstream)
        #expect(error.message.hasPrefix("\(name) sent more than"))
    }

    private func timeoutError(
        _ timeouts: HTTPClientRequest.Timeouts, answering: String
    ) async throws -> AppError {
        try await RawServer.with { connection in
            _ = try await connection.request()
            if !answering.isEmpty { try await connection.send(answering) }
            await connection.untilClosed()
        } _: { server in
            try await withTransport { transport in
                try await appError {
                    _ = try await transport.send(.local(server, timeouts: timeouts)).body.collect(upTo: 100)
                }
            }
        }
    }

    @Test func `an upstream that never answers runs into the first-byte limit`() async throws {
        let error = try await timeoutError(.init(firstByte: .milliseconds(50)), answering: "")
        #expect(error.code == .timeout && error.source == .upstream)
        #expect(error.message.contains("did not begin to answer within 0.05 seconds"))
    }

    @Test func `an upstream that stalls in its answer runs into the idle limit`() async throws {
        let error = try await timeoutError(
            .init(idle: .milliseconds(50)), answering: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        #expect(error.code == .timeout)
        #expect(error.message.contains("stopped in the middle of its answer"))
    }

    @Test func `the total limit counts from the start`() async throws {
        let error = try await timeoutError(
            .init(total: .milliseconds(50)), answering: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        #expect(error.code == .timeout)
        #expect(error.message.contains("took longer than 0.05 seconds"))
    }

    @Test func `a host that does not take the connection runs into the connect limit`() async throws {
        try await withTransport { transport in
            // TEST-NET-1 goes nowhere: either it is dropped, or the network says at once that there is no way.
            let error = try await appError {
                _ = try await transport.send(
                    HTTPClientRequest(
                        url: "http://192.0.2.1:9/", timeouts: .init(connect: .milliseconds(50)), allowPrivateAddresses: true))
            }
            #expect(error.code == .timeout || error.code == .upstream)
            #expect(error.message.contains("192.0.2.1:9"))
        }
    }

    @Test func `a slow first byte within the limit is fine`() async throws {
        let released = Signal()
        try await RawServer.with { connection in
            while let request = try await connection.request() {
                if request.path == "/slow" { await released.wait() }
                try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
            }
        } _: { server in
            try await withTransport { transport in
                async let slow = transport.send(.local(server, "slow"))
                for _ in 0..<50 { _ = try await transport.send(.local(server, "fast")).body.collect(upTo: 10) }
                released.fire()
                #expect(try await slow.body.collect(upTo: 10).text == "done")
            }
        }
    }

    @Test func `a refused connection says where`() async throws {
        let port = try await RawServer.with { _ in
        } _: {
            $0.port
        }
        try await withTransport { transport in
            let error = try await appError {
                _ = try await transport.send(HTTPClientRequest(url: "http://127.0.0.1:\(port)/", allowPrivateAddresses: true))
            }
            #expect(error.code == .upstream)
            #expect(error.message.hasPrefix("cannot connect to 127.0.0.1:\(port)"))
        }
    }

    @Test func `a name that does not exist says so`() async throws {
        try await withTransport { transport in
            let error = try await appError {
                _ = try await transport.send(HTTPClientRequest(url: "http://no-such-host.invalid/"))
            }
            #expect(error.code == .upstream)
            #expect(error.message.contains("cannot resolve the host name no-such-host.invalid"))
        }
    }
}

import Core
import HTTPTransport
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

/// What arrives at the other side, and what comes back from it.
@Suite(.timeLimit(.minutes(1)))
struct RequestTests {
    /// Sends a request to a server that answers 200, and returns what it received.
    func received(_ change: @escaping @Sendable (inout HTTPClientRequest) -> Void) async throws -> RawConnection.Request {
        let seen = NIOLockedValueBox<RawConnection.Request?>(nil)
        return try await RawServer.with { connection in
            try await connection.answerAll { request in
                seen.withLockedValue { $0 = request }
                return ""
            }
        } _: { server in
            try await withTransport { transport in
                var request = HTTPClientRequest.local(server)
                change(&request)
                _ = try await transport.send(request).body.collect(upTo: 10)
                return try #require(seen.withLockedValue { $0 })
            }
        }
    }

    @Test func `headers arrive in order with duplicates and empty values, and none are added`() async throws {
        let request = try await received {
            $0.headers = [("X-Beta", "1"), ("x-alpha", "2"), ("X-Beta", "3"), ("x-empty", ""), ("Authorization", "Bearer a:b")]
        }
        let names = request.lines.dropFirst().filter { !$0.lowercased().hasPrefix("host:") }
        #expect(Array(names) == ["X-Beta: 1", "x-alpha: 2", "X-Beta: 3", "x-empty:", "Authorization: Bearer a:b"])
    }

    @Test func `a body sets its own length, whatever the headers claim, and asks for no permission to be sent`() async throws {
        let request = try await received {
            $0.method = "POST"
            $0.headers = [("content-length", "5"), ("transfer-encoding", "chunked"), ("content-type", "application/json")]
            $0.body = ByteBuffer(repeating: UInt8(ascii: "x"), count: 100_000)
        }
        let lines = request.lines.map { $0.lowercased() }
        #expect(request.body.readableBytes == 100_000)
        #expect(lines.filter { $0.hasPrefix("content-length") } == ["content-length: 100000"])
        #expect(!lines.contains { $0.hasPrefix("expect") || $0.hasPrefix("transfer-encoding") || $0.hasPrefix("accept") })
    }

    @Test func `a body of 32 MB arrives whole and one byte more is refused`() async throws {
        let size = HTTPClientRequest.maxBodyBytes
        let request = try await received {
            $0.method = "POST"
            $0.body = ByteBuffer(repeating: 7, count: size)
        }
        #expect(request.body.readableBytes == size)
        #expect(request.body == ByteBuffer(repeating: 7, count: size))
        try await withTransport { transport in
            let error = try await appError {
                _ = try await transport.send(
                    HTTPClientRequest(method: "POST", url: "http://192.0.2.1/", body: ByteBuffer(repeating: 7, count: size + 1)))
            }
            #expect(error.code == .tooLarge && error.field == "body")
        }
    }

    @Test(arguments: ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
    func `the method is sent as it is, without a body`(method: String) async throws {
        let request = try await received { $0.method = method }
        #expect(request.head.hasPrefix("\(method) / HTTP/1.1\r\n"))
        let length = request.lines.first { $0.lowercased().hasPrefix("content-length") }
        #expect(length == (["POST", "PUT", "PATCH"].contains(method) ? "Content-Length: 0" : nil))
    }

    @Test func `a GET may have a body`() async throws {
        let request = try await received { $0.body = ByteBuffer(string: "{}") }
        #expect(request.head.hasPrefix("GET / "))
        #expect(request.body.text == "{}")
    }

    @Test func `a path with dots and a query goes out untouched`() async throws {
        let request = try await received { $0.url += "a/../b/./c?q=%2F%20&x" }
        #expect(request.path == "/a/../b/./c?q=%2F%20&x")
    }

    @Test(arguments: [200, 204, 301, 302, 307, 400, 401, 404, 429, 500, 503, 529, 599])
    func `every status comes back as an answer and no redirect is followed`(status: Int) async throws {
        let calls = NIOLockedValueBox(0)
        try await RawServer.with { connection in
            while try await connection.request() != nil {
                calls.withLockedValue { $0 += 1 }
                let length = status == 204 ? "" : "Content-Length: 4\r\n"
                try await connection.send(
                    "HTTP/1.1 \(status) Reason\r\nLocation: /other\r\n\(length)\r\n\(status == 204 ? "" : "body")")
            }
        } _: { server in
            try await withTransport { transport in
                let answer = try await transport.send(.local(server))
                #expect(answer.status == status)
                #expect(answer.header("LOCATION") == "/other")
                #expect(try await answer.body.collect(upTo: 100).text == (status == 204 ? "" : "body"))
            }
        }
        #expect(calls.withLockedValue { $0 } == 1)
    }

    @Test func `answer headers keep order, case, duplicates and folded lines; interim heads and trailers stay out`() async throws {
        try await RawServer.with { connection in
            _ = try await connection.request()
            try await connection.send(
                "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-Zed:  spaced \t\r\n"
                    + "set-cookie: b=2\r\nX-Fold: one\r\n two\r\nX-Empty:\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "3\r\nabc\r\n0\r\nX-Trailer: late\r\n\r\n")
            await connection.untilClosed()
        } _: { server in
            try await withTransport { transport in
                let answer = try await transport.send(.local(server))
                #expect(answer.status == 200)
                #expect(
                    answer.headers.map { "\($0.name)=\($0.value)" } == [
                        "Set-Cookie=a=1", "X-Zed=spaced", "set-cookie=b=2", "X-Fold=one two", "X-Empty=",
                        "Transfer-Encoding=chunked",
                    ])
                #expect(try await answer.body.collect(upTo: 100).text == "abc")
            }
        }
    }

    @Test func `a unix socket is reached by path`() async throws {
        let path = "/tmp/slipway-http-\(UInt64.random(in: 0 ... .max)).sock"
        try await RawServer.with(unixSocket: path) { connection in
            try await connection.answerAll { $0.path }
        } _: { _ in
            try await withTransport { transport in
                let answer = try await transport.send(HTTPClientRequest(url: "http://agent/v1/status", unixSocket: path))
                #expect(try await answer.body.collect(upTo: 100).text == "/v1/status")
                let error = try await appError {
                    _ = try await transport.send(HTTPClientRequest(url: "http://agent/", unixSocket: path + ".gone"))
                }
                #expect(error.code == .upstream)
                #expect(error.message.contains("the unix socket \(path).gone"))
            }
        }
    }

    @Test func `connections are kept and used again`() async throws {
        let connections = NIOLockedValueBox(0)
        try await RawServer.with { connection in
            connections.withLockedValue { $0 += 1 }
            try await connection.answerAll()
        } _: { server in
            try await withTransport { transport in
                for _ in 0..<20 { _ = try await transport.send(.local(server)).body.collect(upTo: 10) }
            }
        }
        #expect(connections.withLockedValue { $0 } == 1)
    }

    @Test(arguments: [
        ("GET /x", "http://h/", [("a", "b")], "method"), ("GET", "http://h/", [("a b", "c")], "headers"),
        ("GET", "http://h/", [("a", "b\r\nx: y")], "headers"), ("GET", "http://h/", [("", "b")], "headers"),
        ("GET", "file:///etc/passwd", [], "url"), ("GET", "gopher://h/", [], "url"), ("GET", "h/path", [], "url"),
        ("GET", "http://user:secret@h/", [], "url"), ("GET", "http://h/\r\nHost: x", [], "url"), ("GET", "", [], "url"),
    ])
    func `what could not be sent as meant is refused by field`(
        method: String, url: String, headers: [(String, String)], field: String
    ) async throws {
        try await withTransport { transport in
            let error = try await appError {
                _ = try await transport.send(
                    HTTPClientRequest(method: method, url: url, headers: headers.map { (name: $0.0, value: $0.1) }))
            }
            #expect(error.code == .badRequest && error.field == field)
            #expect(!error.description.contains("secret"))
        }
    }
}

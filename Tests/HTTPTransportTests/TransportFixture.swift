import Core
import HTTPTransport
import Logging
import NIOCore
import TestSupport
import Testing

/// Runs `body` with a transport that is shut down afterwards.
func withTransport<R>(threads: Int = 1, _ body: (HTTPTransport) async throws -> R) async throws -> R {
    let transport = HTTPTransport(threads: threads, logger: Logger(label: "test"))
    do {
        let result = try await body(transport)
        await transport.shutdown()
        return result
    } catch {
        await transport.shutdown()
        throw error
    }
}

extension HTTPClientRequest {
    /// To a server of this machine, which the test means to reach.
    static func local(
        _ server: RawServer, _ path: String = "", method: String = "GET", headers: [(name: String, value: String)] = [],
        body: ByteBuffer? = nil, timeouts: Timeouts = Timeouts()
    ) -> HTTPClientRequest {
        HTTPClientRequest(
            method: method, url: server.url + path, headers: headers, body: body, timeouts: timeouts, allowPrivateAddresses: true)
    }
}

/// The `AppError` that `body` throws; anything else fails the test.
func appError(_ location: SourceLocation = #_sourceLocation, _ body: () async throws -> Void) async throws -> AppError {
    do {
        try await body()
    } catch let error as AppError {
        return error
    }
    Issue.record("no error was thrown", sourceLocation: location)
    throw CancellationError()
}

extension ByteBuffer {
    var text: String { String(buffer: self) }
}

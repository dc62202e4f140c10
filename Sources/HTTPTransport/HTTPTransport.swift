import Core
import Logging
import NIOConcurrencyHelpers

/// Calls other servers over HTTP/1.1 with libcurl, on threads of its own.
///
/// Redirects are not followed, nothing is decompressed, no proxy is taken from the environment. Connections are kept.
package final class HTTPTransport: Sendable {
    private let drivers: [CurlDriver]
    private let turn = NIOLockedValueBox(0)
    private let logger: Logger
    private let locals = NIOLockedValueBox<[String: LocalHandler]>([:])

    /// Answers requests in this process.
    package typealias LocalHandler = @Sendable (HTTPClientRequest) async throws -> LocalAnswer

    /// - Parameter threads: one carries about 30,000 small calls per second.
    package init(threads: Int = 1, logger: Logger) {
        drivers = (0..<max(1, threads)).map { _ in CurlDriver() }
        self.logger = logger
    }

    /// Returns when the answer's head has come.
    ///
    /// - Throws: `bad_request` for a request that cannot be sent; `forbidden` for an address that is not public;
    ///   `upstream`, `timeout`; `unavailable` after `shutdown()`; `CancellationError`. Any status of the answer is no error.
    package func send(_ request: HTTPClientRequest) async throws -> HTTPClientResponse {
        try Task.checkCancellation()
        if !request.url.hasPrefix("http"), let local = local(request.url) { return try await answer(request, local) }
        let sink = BodySink()
        let transfer = try start(request, sink: sink)
        let head = try await sink.readHead(of: transfer)
        return HTTPClientResponse(status: head.status, headers: head.headers, body: HTTPBody(sink: sink, transfer: transfer))
    }

    /// URLs of this scheme are answered by the handler, and nothing is sent.
    package func answer(scheme: String, with handler: @escaping LocalHandler) { locals.withLockedValue { $0[scheme] = handler } }

    private func local(_ url: String) -> LocalHandler? {
        locals.withLockedValue { $0.isEmpty ? nil : $0[String(url.prefix { $0 != ":" })] }
    }

    private func answer(_ request: HTTPClientRequest, _ handler: LocalHandler) async throws -> HTTPClientResponse {
        let answer = try await handler(request)
        let sink = BodySink()
        let transfer = LocalTransfer(name: request.url)
        transfer.run(answer, into: sink)
        return HTTPClientResponse(
            status: answer.status, headers: answer.headers, body: HTTPBody(sink: sink, transfer: transfer))
    }

    /// The same without the asynchronous face: the sink is called on the transport's thread.
    package func start(_ request: HTTPClientRequest, sink: any TransferSink) throws -> Transfer {
        let target = try request.checkedTarget()
        let driver = nextDriver()
        let transfer = Transfer(driver: driver, request: request, target: target, sink: sink)
        driver.enqueue(.start(transfer))
        return transfer
    }

    /// Ends all transfers with `unavailable` and returns when the threads have ended. May be called more than once.
    package func shutdown() async {
        for driver in drivers { await driver.stop() }
        logger.debug("HTTP client closed")
    }

    private func nextDriver() -> CurlDriver {
        if drivers.count == 1 { return drivers[0] }
        return turn.withLockedValue { turn in
            turn = (turn + 1) % drivers.count
            return drivers[turn]
        }
    }
}

import Core
import Foundation
import Hummingbird
import HummingbirdCore
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// The HTTP server on its address: accepts, serves, and ends in two steps (no new connections; then none at all).
package final class Listener: Sendable {
    private let begin: @Sendable () async throws -> Void
    private let quiesce: @Sendable () async throws -> Void
    private let starts: AsyncStream<Result<Int, any Error>>
    private let started: AsyncStream<Result<Int, any Error>>.Continuation
    private let address: ListenAddress
    private let isClosing: NIOLockedValueBox<Bool>
    private let running = NIOLockedValueBox<Task<Void, any Error>?>(nil)

    /// - Parameters:
    ///   - calls: nil: no data plane; calls of models go through the router as well.
    ///   - certificate: nil: plain HTTP.
    init(
        configuration: Configuration, router: Router<SlipwayContext>, calls: (any ModelCalls)?, certificate: ServerCertificate?,
        logger: Logger
    ) throws {
        let responder = router.buildResponder()
        let answer: HTTPChannelHandler.Responder = { request, writer, channel in
            let context = SlipwayContext(source: .init(channel: channel, logger: logger))
            var response: Response
            do {
                response = try await responder.respond(to: request, context: context)
            } catch {
                response = .error(AppError(anything: error), requestID: context.requestID)
            }
            response.headers[.date] = HTTPDate.now
            try await writer.write(response: response.head, body: response.body)
        }
        // The second one sees requests of both ways, the router's and the data plane's; Hummingbird's own sees the router's alone.
        let plain = HTTP1Channel(
            responder: answer,
            configuration: .init(
                additionalChannelHandlers: [
                    DisconnectHandler(), HTTPConnectionStateHandler(idleTimeout: .seconds(120), logger: logger),
                ] + (calls.map { [ModelCallHandler($0)] } ?? [])))
        let (starts, started) = AsyncStream<Result<Int, any Error>>.makeStream()
        let settings = ServerConfiguration(
            address: .hostname(configuration.listen.host, port: configuration.listen.port), backlog: 1024)
        let group = MultiThreadedEventLoopGroup.singleton
        let listening: @Sendable (any Channel) async -> Void = { channel in
            if let port = channel.localAddress?.port { started.yield(.success(port)) }
        }
        let isClosing = NIOLockedValueBox(false)
        self.isClosing = isClosing
        var quiet = Logger(label: logger.label) { _ in ClosingLogHandler(inner: logger.handler, isClosing: isClosing) }
        quiet.logLevel = max(.warning, logger.logLevel)
        if let certificate {
            let server = HummingbirdCore.Server(
                childChannelSetup: try SecureChannel(plain, certificate), configuration: settings, onServerRunning: listening,
                eventLoopGroup: group,
                logger: quiet)
            begin = { try await server.run() }
            quiesce = { try await server.shutdownGracefully() }
        } else {
            let server = HummingbirdCore.Server(
                childChannelSetup: plain, configuration: settings, onServerRunning: listening, eventLoopGroup: group, logger: quiet)
            begin = { try await server.run() }
            quiesce = { try await server.shutdownGracefully() }
        }
        (self.starts, self.started) = (starts, started)
        address = configuration.listen
    }

    /// Returns once connections are accepted; the port is the real one when 0 was asked for.
    /// - Throws: `unavailable` when the address is taken or not ours.
    package func start() async throws -> Int {
        // Awaited by `close`.
        let task = Task { [begin, started] in
            do { try await begin() } catch {
                started.yield(.failure(error))
                throw error
            }
        }
        running.withLockedValue { $0 = task }
        for await outcome in starts {
            switch outcome {
            case .success(let port): return port
            case .failure(let error):
                throw AppError(
                    .unavailable, "Cannot listen on \(address): \(Self.reason(error)). Choose another address with --listen.",
                    field: "listen",
                    cause: error)
            }
        }
        // The start itself was cancelled: nobody will close what it began.
        task.cancel()
        _ = await task.result
        throw CancellationError()
    }

    /// Returns when the server has ended by itself.
    package func ended() async throws { try await running.withLockedValue { $0 }?.value }

    /// Stops accepting and closes idle connections at once; those with a request in flight go on.
    package func stopAccepting() {
        isClosing.withLockedValue { $0 = true }
        // Ends with the last connection; `close` waits for that, bounded.
        Task { [quiesce] in try? await quiesce() }
    }

    /// Waits for the open connections; when the caller's patience ends it is cancelled, which closes them.
    package func close() async {
        let task = running.withLockedValue { $0 }
        await withTaskCancellationHandler {
            _ = await task?.result
        } onCancel: {
            task?.cancel()
        }
    }

    private static func reason(_ error: any Error) -> String {
        guard let error = error as? IOError else { return "\(error)" }
        return switch error.errnoCode {
        case EADDRINUSE: "another program listens there already"
        case EADDRNOTAVAIL: "this machine has no such address"
        case EACCES: "ports below 1024 need more rights"
        default: String(cString: strerror(error.errnoCode))
        }
    }
}

/// The `Date` header, written anew once a second.
enum HTTPDate {
    private static let cache = NIOLockedValueBox<(second: Int, text: String)>((0, ""))

    static var now: String {
        let second = Int(Date().timeIntervalSince1970)
        return cache.withLockedValue { cache in
            if cache.second != second { cache = (second, text(of: time(nil))) }
            return cache.text
        }
    }

    private static func text(of second: time_t) -> String {
        var second = second
        var parts = tm()
        gmtime_r(&second, &parts)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let day = "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900)"
        return "\(day) \(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
    }
}

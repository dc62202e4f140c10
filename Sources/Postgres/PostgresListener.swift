import Core
import Logging
import NIOConcurrencyHelpers
import ServiceLifecycle

/// What a `LISTEN` hears. Notifications only say "look": a consumer reads the rows, and polls as well.
package enum PostgresNotification: Sendable, Equatable {
    case received(payload: String)
    /// Notifications may have been missed: the connection is new, or the consumer was slow. Read everything again.
    case reconnected
}

/// Hears notifications on a connection of its own, which it reopens (with back-off) when it is lost.
package final class PostgresListener: Service {
    private let configuration: PostgresConfiguration
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    private struct State {
        var streams: [String: [Int: AsyncStream<PostgresNotification>.Continuation]] = [:]
        var count = 0
        var connection: PostgresConnection?
        var isClosed = false
    }

    package init(configuration: PostgresConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// At most 256 notifications wait for a slow consumer; then it gets `.reconnected` instead. Ends with `close()`.
    package func listen(_ channel: String) -> AsyncStream<PostgresNotification> {
        let (stream, continuation) = AsyncStream.makeStream(of: PostgresNotification.self, bufferingPolicy: .bufferingNewest(256))
        let (id, isFirst, connection) = state.withLockedValue { state in
            state.count += 1
            if state.isClosed { return (state.count, false, PostgresConnection?.none) }
            let isFirst = state.streams[channel, default: [:]].isEmpty
            state.streams[channel, default: [:]][state.count] = continuation
            return (state.count, isFirst, state.connection)
        }
        if state.withLockedValue({ $0.isClosed }) {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [state] _ in state.withLockedValue { _ = $0.streams[channel]?.removeValue(forKey: id) } }
        if isFirst, let connection {
            // Not awaited: when it fails the connection is lost, and `run` listens anew.
            Task { [self] in
                do {
                    try await connection.execute(Self.listenStatement(channel))
                    deliver(.reconnected, to: channel)
                } catch { connection.channel.submitClose() }
            }
        }
        return stream
    }

    /// Runs until it is cancelled or closed.
    package func run() async throws {
        await cancelWhenGracefulShutdown { await self.keepListening() }
    }

    /// Ends `run` and all streams. Idempotent.
    package func close() {
        let (connection, streams) = state.withLockedValue { state in
            defer {
                state.isClosed = true
                state.streams = [:]
                state.connection = nil
            }
            return (state.connection, state.streams.values.flatMap(\.values))
        }
        for stream in streams { stream.finish() }
        connection?.channel.submitClose()
    }

    private func keepListening() async {
        var failures = 0
        while !Task.isCancelled, !state.withLockedValue({ $0.isClosed }) {
            do {
                let (losses, loss) = AsyncStream.makeStream(of: PostgresError.self)
                let channel = try await Connector.connect(configuration)
                channel.observe(
                    onLoss: {
                        loss.yield($0)
                        loss.finish()
                    },
                    onNotification: { [weak self] name, payload in self?.deliver(.received(payload: payload), to: name) })
                try await use(PostgresConnection(channel))
                failures = 0
                for await reason in losses { logger.debug("notifications interrupted", metadata: ["reason": "\(reason.message)"]) }
                channel.submitClose()
            } catch {
                if failures == 0 { logger.warning("cannot listen for notifications", metadata: ["error": "\(error)"]) }
                failures += 1
            }
            let connection = state.withLockedValue { state in
                defer { state.connection = nil }
                return state.connection
            }
            connection?.channel.submitClose()
            try? await Task.sleep(for: PoolMachine.backOff(afterFailures: failures))
        }
    }

    private func use(_ connection: PostgresConnection) async throws {
        let channels = state.withLockedValue { state in
            state.connection = connection
            return Array(state.streams.keys)
        }
        try await connection.pipeline(channels.map(Self.listenStatement))
        for channel in channels { deliver(.reconnected, to: channel) }
    }

    private func deliver(_ notification: PostgresNotification, to channel: String) {
        for stream in state.withLockedValue({ $0.streams[channel].map { Array($0.values) } ?? [] }) {
            if case .dropped = stream.yield(notification) { stream.yield(.reconnected) }
        }
    }

    private static func listenStatement(_ channel: String) -> Query {
        "LISTEN \(unsafeSQL: "\"" + channel.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\"")"
    }
}

import HTTPTypes
import Hummingbird
import NIOConcurrencyHelpers
import NIOCore

/// Tells when the client of a connection has left, also while nothing is being written to it.
package final class Disconnect: Sendable {
    private struct State {
        var hasLeft = false
        var next = 0
        var actions: [Int: @Sendable () -> Void] = [:]
    }

    private let state = NIOLockedValueBox(State())

    /// How long a client may take nothing of an answer that is there, before it counts as gone.
    package static let patience = Duration.seconds(300)

    /// Runs `body` in a task that is cancelled when the client leaves.
    package func cancelling<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        // Awaited below.
        let task = Task(operation: body)
        let id = add { task.cancel() }
        defer { state.withLockedValue { $0.actions[id] = nil } }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    private func add(_ action: @escaping @Sendable () -> Void) -> Int {
        let (id, hasLeft) = state.withLockedValue { state in
            state.next += 1
            if !state.hasLeft { state.actions[state.next] = action }
            return (state.next, state.hasLeft)
        }
        if hasLeft { action() }
        return id
    }

    fileprivate func left() {
        let actions = state.withLockedValue { state in
            state.hasLeft = true
            defer { state.actions = [:] }
            return state.actions
        }
        for action in actions.values { action() }
    }
}

/// Watches a connection for its `Disconnect`. A client that closes its sending half counts as gone: no HTTP client does so and then
/// reads an answer.
final class DisconnectHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    /// Of the connections there are, so that a request need not visit its event loop to find its own.
    private static let all = NIOLockedValueBox<[ObjectIdentifier: Disconnect]>([:])

    static func disconnect(of channel: any Channel) -> Disconnect? { all.withLockedValue { $0[ObjectIdentifier(channel)] } }

    private let disconnect = Disconnect()

    func handlerAdded(context: ChannelHandlerContext) {
        let (key, disconnect) = (ObjectIdentifier(context.channel), disconnect)
        Self.all.withLockedValue { $0[key] = disconnect }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        let key = ObjectIdentifier(context.channel)
        Self.all.withLockedValue { $0[key] = nil }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { disconnect.left() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        disconnect.left()
        context.fireChannelInactive()
    }
}

extension SlipwayContext {
    /// Of the connection that this request came over.
    package func disconnect() throws -> Disconnect {
        // A connection that has ended is not known any more.
        guard let disconnect = DisconnectHandler.disconnect(of: channel) else { throw CancellationError() }
        return disconnect
    }
}

/// Lends a value that is not `Sendable` to one task at a time.
struct Lent<Value>: @unchecked Sendable {
    var value: Value
}

extension ResponseBody {
    /// A body that is written until `write` returns; it is cancelled when the client leaves.
    static func streamed(
        until disconnect: Disconnect, _ write: @escaping @Sendable (inout any ResponseBodyWriter) async throws -> Void
    ) -> ResponseBody {
        ResponseBody { writer in
            let lent = Lent(value: writer)
            try await disconnect.cancelling {
                let watched = WatchedWriter(lent.value)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await watched.stalls(longerThan: Disconnect.patience) }
                    group.addTask {
                        var writer: any ResponseBodyWriter = watched
                        try await write(&writer)
                        try await writer.finish(nil)
                    }
                    defer { group.cancelAll() }
                    try await group.next()
                }
            }
        }
    }
}

/// Knows since when a piece waits for its client.
private struct WatchedWriter: ResponseBodyWriter {
    private let lent: Lent<any ResponseBodyWriter>
    private let since = NIOLockedValueBox<ContinuousClock.Instant?>(nil)

    init(_ writer: any ResponseBodyWriter) { lent = Lent(value: writer) }

    mutating func write(_ buffer: ByteBuffer) async throws {
        since.withLockedValue { $0 = .now }
        defer { since.withLockedValue { $0 = nil } }
        var writer = lent.value
        try await writer.write(buffer)
    }

    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {
        let writer = lent.value
        try await writer.finish(trailingHeaders)
    }

    /// - Throws: `CancellationError` once a piece has waited so long.
    func stalls(longerThan patience: Duration) async throws {
        while true {
            try await Task.sleep(for: patience / 10)
            if let begin = since.withLockedValue({ $0 }), ContinuousClock.now - begin > patience { throw CancellationError() }
        }
    }
}

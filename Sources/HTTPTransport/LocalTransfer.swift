import NIOConcurrencyHelpers
import NIOCore

/// What a body's reader may do to whoever fills it, from any thread at any time.
package protocol TransferControl: AnyObject, Sendable {
    /// Ends it; after the end it does nothing.
    func cancel()
    /// Goes on after the sink refused bytes.
    func resume()
    /// The other side, for messages.
    var name: String { get }
}

extension Transfer: TransferControl {
    package var name: String { target.name }
}

/// An answer made in this process, with the pace of whoever makes it.
package struct LocalAnswer: Sendable {
    package var status: Int
    package var headers: [(name: String, value: String)]
    /// The next piece of the body; nil at its end.
    package var next: @Sendable () async throws -> ByteBuffer?

    package init(
        status: Int, headers: [(name: String, value: String)], next: @escaping @Sendable () async throws -> ByteBuffer?
    ) {
        self.status = status
        self.headers = headers
        self.next = next
    }
}

/// Fills a sink from this process as a transfer fills it from the wire: a reader that stops asking stops it.
final class LocalTransfer: TransferControl {
    private struct State {
        var task: Task<Void, Never>?
        var isOpen = true
        var waiter: CheckedContinuation<Void, Never>?
    }

    let name: String
    private let state = NIOLockedValueBox(State())

    init(name: String) { self.name = name }

    func run(_ answer: LocalAnswer, into sink: BodySink) {
        // Ends with the answer, or with `cancel`, which the last reader calls.
        let task = Task {
            do {
                while let piece = try await answer.next() {
                    try Task.checkCancellation()
                    while !piece.withUnsafeReadableBytes({ sink.body($0) }) {
                        sink.turnEnded()
                        await untilResumed()
                        try Task.checkCancellation()
                    }
                    sink.turnEnded()
                }
                sink.finished(nil)
            } catch {
                sink.finished(error)
            }
            sink.turnEnded()
        }
        state.withLockedValue { $0.task = task }
    }

    func cancel() {
        let task = state.withLockedValue { $0.task }
        task?.cancel()
        resume()
    }

    func resume() {
        let waiter = state.withLockedValue { state in
            defer { state.waiter = nil }
            state.isOpen = true
            return state.waiter
        }
        waiter?.resume()
    }

    private func untilResumed() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLockedValue { state in
                defer { state.isOpen = false }
                if !state.isOpen { state.waiter = continuation }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }
}

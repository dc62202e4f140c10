import Core
import Foundation
import NIOConcurrencyHelpers
import NIOCore

/// An answer that is read once from its provider and handed to everybody who asked for it under one key, from its first byte. Nobody
/// who leaves takes it from the others, or from the record.
final class SharedAnswer: Sendable {
    struct Head: Sendable {
        var status: Int
        var headers: [(name: String, value: String)]
    }

    enum Beginning: Sendable {
        case head(Head)
        /// Of a call that is on record.
        case failed(AppError)
        /// It was never sent: somebody else may.
        /// With what the key stands for, where another server has it.
        case neverSent(KeyTaken?)
    }

    /// What is kept for those who come late. An answer that grows beyond it is for those who read it already.
    static let longest = 32 << 20

    fileprivate struct State {
        var beginning: Beginning?
        var chunks: [ByteBuffer] = []
        /// How many of the first chunks were dropped.
        var dropped = 0
        var bytes = 0
        var isTooLong = false
        var isOver = false
        /// The next chunk of each.
        var readers: [UInt64: Int] = [:]
        var lastID: UInt64 = 0
        var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var onAbandoned: (@Sendable () -> Void)?
    }

    let first: InterceptionID
    let requestHash: Data
    private let state = NIOLockedValueBox(State())

    init(first: InterceptionID, requestHash: Data) {
        self.first = first
        self.requestHash = requestHash
    }

    // MARK: The one who writes

    func begin(_ beginning: Beginning) { change { $0.beginning = $0.beginning ?? beginning } }

    /// Returns when there is room for more, or nobody is left for whom there has to be.
    func append(_ chunk: ByteBuffer) async throws {
        change { state in
            state.chunks.append(chunk)
            state.bytes += chunk.readableBytes
            if state.bytes > Self.longest { state.isTooLong = true }
            state.trim()
        }
        try await wait { $0.bytes <= Self.longest || $0.readers.isEmpty ? () : nil }
    }

    func end() { change { $0.isOver = true } }

    /// Told each time that the last reader leaves before the end.
    func onAbandoned(_ action: @escaping @Sendable () -> Void) {
        state.withLockedValue { $0.onAbandoned = action }
    }

    var isAbandoned: Bool { state.withLockedValue { $0.readers.isEmpty && !$0.isOver } }

    // MARK: Those who read

    /// - Throws: `CancellationError`.
    func beginning() async throws -> Beginning { try await wait { $0.beginning } }

    /// Nil: it is too long for one who comes now.
    func reader() -> SharedReader? {
        let id = state.withLockedValue { state -> UInt64? in
            if state.isTooLong { return nil }
            state.lastID += 1
            state.readers[state.lastID] = 0
            return state.lastID
        }
        return id.map { SharedReader(self, $0) }
    }

    fileprivate func next(_ reader: UInt64) async -> ByteBuffer? {
        let piece = try? await wait { state -> ByteBuffer?? in
            guard let index = state.readers[reader] else { return .some(nil) }
            if index - state.dropped < state.chunks.count {
                state.readers[reader] = index + 1
                return state.chunks[index - state.dropped]
            }
            return state.isOver ? .some(nil) : nil
        }
        if state.withLockedValue({ $0.isTooLong }) { change { $0.trim() } }
        return piece
    }

    fileprivate func left(_ reader: UInt64) {
        let action = state.withLockedValue { state -> (@Sendable () -> Void)? in
            state.readers[reader] = nil
            state.trim()
            return state.readers.isEmpty && !state.isOver ? state.onAbandoned : nil
        }
        change { _ in }
        action?()
    }

    // MARK: Waiting

    private func change(_ action: (inout State) -> Void) {
        let waiters = state.withLockedValue { state in
            action(&state)
            defer { state.waiters = [:] }
            return state.waiters.values
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Returns what `look` finds, looking again after each change.
    private func wait<Value>(_ look: (inout State) -> Value?) async throws -> Value {
        while true {
            let id = state.withLockedValue { state in
                state.lastID += 1
                return state.lastID
            }
            var found: Value?
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let goesOn = state.withLockedValue { state in
                        found = look(&state)
                        // A cancellation from here on finds the waiter.
                        if found != nil || Task.isCancelled { return true }
                        state.waiters[id] = continuation
                        return false
                    }
                    if goesOn { continuation.resume() }
                }
            } onCancel: {
                state.withLockedValue { $0.waiters.removeValue(forKey: id) }?.resume()
            }
            if let found { return found }
            try Task.checkCancellation()
        }
    }
}

extension SharedAnswer.State {
    /// Drops what everybody has read, of an answer that is too long to be kept.
    fileprivate mutating func trim() {
        guard isTooLong else { return }
        let read = readers.values.min() ?? dropped + chunks.count
        while dropped < read, !chunks.isEmpty {
            bytes -= chunks.removeFirst().readableBytes
            dropped += 1
        }
    }
}

/// One who reads a shared answer; gone when it is let go of.
final class SharedReader: Sendable {
    private let answer: SharedAnswer
    private let id: UInt64

    fileprivate init(_ answer: SharedAnswer, _ id: UInt64) {
        self.answer = answer
        self.id = id
    }

    /// Nil at the end, and when the task is cancelled.
    func next() async -> ByteBuffer? { await answer.next(id) }

    deinit { answer.left(id) }
}

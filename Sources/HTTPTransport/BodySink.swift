import Core
import NIOConcurrencyHelpers
import NIOCore

/// Between the driver's thread and one asynchronous reader. Collects what comes in a turn of the loop and wakes the reader once.
final class BodySink: TransferSink {
    /// Above this the transfer is paused until the reader has taken what is there.
    static let highWaterMark = 64 << 10

    typealias Head = (status: Int, headers: [(name: String, value: String)])

    fileprivate struct State {
        /// Of this turn, not yet shown to the reader.
        var arriving = ByteBuffer()
        var pending = ByteBuffer()
        var head: Head?
        var isHeadShown = false
        /// Set in the turn in which it ends; shown when the turn ends.
        var ending: Result<Void, any Error>?
        var end: Result<Void, any Error>?
        var isPaused = false
        /// The next reader gets an empty piece.
        var isWoken = false
        var headReader: CheckedContinuation<Head, any Error>?
        var bodyReader: CheckedContinuation<ByteBuffer?, any Error>?
    }

    private let state = NIOLockedValueBox(State())

    var hasFinished: Bool { state.withLockedValue { $0.ending != nil } }

    // MARK: the driver's thread

    func head(status: Int, headers: [(name: String, value: String)]) {
        state.withLockedValue { $0.head = (status, headers) }
    }

    func body(_ bytes: UnsafeRawBufferPointer) -> Bool {
        state.withLockedValue { state in
            if state.arriving.readableBytes + state.pending.readableBytes > Self.highWaterMark {
                state.isPaused = true
                return false
            }
            state.arriving.writeBytes(bytes)
            return true
        }
    }

    func finished(_ failure: (any Error)?) {
        state.withLockedValue { $0.ending = failure.map { .failure($0) } ?? .success(()) }
    }

    func turnEnded() {
        let wake = state.withLockedValue { state -> () -> Void in
            state.publishTurn()
            if let reader = state.headReader, let answer = state.takeHead() {
                state.headReader = nil
                return { reader.resume(with: answer) }
            }
            if let reader = state.bodyReader, let answer = state.takeBody() {
                state.bodyReader = nil
                return { reader.resume(with: answer) }
            }
            return {}
        }
        wake()
    }

    // MARK: the reader

    func readHead(of transfer: any TransferControl) async throws -> Head {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { reader in
                let answer = state.withLockedValue { state in
                    let answer = state.takeHead()
                    if answer == nil { state.headReader = reader }
                    return answer
                }
                if let answer { reader.resume(with: answer) }
            }
        } onCancel: {
            transfer.cancel()
        }
    }

    /// A reader that waits gets an empty piece.
    func nudge() {
        let reader = state.withLockedValue { state in
            defer { state.bodyReader = nil }
            return state.bodyReader
        }
        reader?.resume(returning: ByteBuffer())
    }

    private func wake() {
        let reader = state.withLockedValue { state in
            state.isWoken = state.bodyReader == nil
            defer { state.bodyReader = nil }
            return state.bodyReader
        }
        reader?.resume(returning: ByteBuffer())
    }

    /// - Parameter wakes: a cancelled reader gets an empty piece, once, and the transfer goes on.
    func next(of transfer: any TransferControl, wakingWhenCancelled wakes: Bool = false) async throws -> ByteBuffer? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { reader in
                let (answer, resumes) = state.withLockedValue { state in
                    var answer = state.isWoken ? .success(ByteBuffer()) : state.takeBody()
                    state.isWoken = false
                    if answer == nil {
                        if state.bodyReader != nil {
                            answer = .failure(AppError(.internal, "the body of an HTTP answer has two readers at once"))
                        } else {
                            state.bodyReader = reader
                        }
                    }
                    // Also when there is nothing to take: the last turn may have gone to the reader directly, over the mark,
                    // with the transfer paused behind it.
                    defer { state.isPaused = false }
                    return (answer, state.isPaused)
                }
                if resumes { transfer.resume() }
                if let answer { reader.resume(with: answer) }
            }
        } onCancel: {
            if wakes { wake() } else { transfer.cancel() }
        }
    }
}

extension BodySink.State {
    fileprivate mutating func publishTurn() {
        if arriving.readableBytes > 0 {
            if pending.readableBytes == 0 { pending = arriving } else { pending.writeBuffer(&arriving) }
            arriving = ByteBuffer()
        }
        if head != nil { isHeadShown = true }
        end = ending
    }

    fileprivate func takeHead() -> Result<BodySink.Head, any Error>? {
        if isHeadShown, let head { return .success(head) }
        return switch end {
        case nil: nil
        case .failure(let error): .failure(error)
        // To curl an answer that ends inside of its head has ended as it should.
        case .success:
            .failure(AppError(.upstream, "the other side closed the connection inside the head of its answer", retry: .now))
        }
    }

    /// What the reader gets next; nil while there is nothing.
    fileprivate mutating func takeBody() -> Result<ByteBuffer?, any Error>? {
        if pending.readableBytes > 0 {
            defer { pending = ByteBuffer() }
            return .success(pending)
        }
        return end.map { $0.map { nil } }
    }
}

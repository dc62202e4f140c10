import Core
import ModelAPI
import NIOConcurrencyHelpers

/// What a task is doing right now, before it is committed: only for eyes.
package enum TaskPreview: Sendable, Equatable {
    /// A new attempt begins: what was previewed of the last one is void.
    case began(step: Int, attempt: Int)
    case delta(step: Int, AnswerDelta)
    case output(call: Int, text: String)
}

/// Hands previews to the viewers on this replica. A viewer that is slow loses the oldest; committed events lose nothing.
package final class PreviewHub: Sendable {
    private struct State {
        var viewers: [TaskID: [Int: AsyncStream<TaskPreview>.Continuation]] = [:]
        var count = 0
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    package func previews(of task: TaskID) -> AsyncStream<TaskPreview> {
        let (stream, continuation) = AsyncStream.makeStream(of: TaskPreview.self, bufferingPolicy: .bufferingNewest(1024))
        let id = state.withLockedValue { state in
            state.count += 1
            state.viewers[task, default: [:]][state.count] = continuation
            return state.count
        }
        continuation.onTermination = { [state] _ in
            state.withLockedValue { state in
                state.viewers[task]?[id] = nil
                if state.viewers[task]?.isEmpty == true { state.viewers[task] = nil }
            }
        }
        return stream
    }

    package func show(_ preview: TaskPreview, of task: TaskID) {
        let viewers = state.withLockedValue { $0.viewers[task].map { Array($0.values) } ?? [] }
        for viewer in viewers { viewer.yield(preview) }
    }
}

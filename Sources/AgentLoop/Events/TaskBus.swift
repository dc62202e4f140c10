import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres

/// Says "look" to whoever waits for a task, here and on other replicas. Never more than a hint: everybody also polls.
package final class TaskBus: Sendable {
    /// `work`: a task may be claimed or is to be interrupted. `events`: a task has new events.
    package enum Topic: String, Sendable, CaseIterable {
        case work = "task_work"
        case events = "task_events"
    }

    private struct Waiter {
        var task: TaskID?
        var continuation: AsyncStream<Void>.Continuation
    }

    private struct State {
        var waiters: [Topic: [Int: Waiter]] = [:]
        var count = 0
        var unsent: [Topic: Set<TaskID>] = [:]
    }

    private let pool: PostgresPool
    private let listener: PostgresListener?
    private let logger: Logger
    private let state = NIOLockedValueBox(State())
    private let wake = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    package init(pool: PostgresPool, listener: PostgresListener?, logger: Logger) {
        self.pool = pool
        self.listener = listener
        self.logger = logger
    }

    /// Tells everybody, after the commit: here at once, elsewhere with the next notification.
    package func changed(_ task: TaskID, _ topic: Topic) {
        deliver(topic, task)
        state.withLockedValue { _ = $0.unsent[topic, default: []].insert(task) }
        wake.continuation.yield()
    }

    /// Yields after each change of the task, or of any task; several changes may come as one.
    package func changes(_ topic: Topic, of task: TaskID? = nil) -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = state.withLockedValue { state in
            state.count += 1
            state.waiters[topic, default: [:]][state.count] = Waiter(task: task, continuation: continuation)
            return state.count
        }
        continuation.onTermination = { [state] _ in state.withLockedValue { _ = $0.waiters[topic]?.removeValue(forKey: id) } }
        return stream
    }

    /// Sends and hears notifications until it is cancelled.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.send() }
            for topic in Topic.allCases { group.addTask { await self.hear(topic) } }
            await group.waitForAll()
        }
    }

    private func send() async {
        for await _ in wake.stream {
            let unsent = state.withLockedValue { state in
                defer { state.unsent = [:] }
                return state.unsent
            }
            for (topic, tasks) in unsent where listener != nil {
                do {
                    try await pool.execute(
                        "SELECT pg_notify(\(topic.rawValue), id) FROM unnest(\(tasks.map(\.description))) AS id")
                } catch is CancellationError { return } catch {
                    // Whoever waits polls.
                    logger.debug("a notification was not sent", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    private func hear(_ topic: Topic) async {
        guard let listener else { return }
        for await notification in listener.listen(topic.rawValue) {
            switch notification {
            case .received(let payload): TaskID(payload).map { deliver(topic, $0) }
            case .reconnected: deliver(topic, nil)
            }
        }
    }

    /// - Parameter task: nil: anything may have changed.
    private func deliver(_ topic: Topic, _ task: TaskID?) {
        let waiters = state.withLockedValue { state in
            (state.waiters[topic] ?? [:]).values.filter { $0.task == nil || task == nil || $0.task == task }
        }
        for waiter in waiters { waiter.continuation.yield() }
    }
}

import Core

/// What the model calls of tasks have cost, as they are booked: the one truth about a task's cost. Calls that were aborted, that a
/// dead server left open, or that nobody waited for are in it as soon as they are settled.
package protocol TaskLedger: Sendable {
    /// Tasks without a booked call are left out.
    func costs(of tasks: [TaskID]) async throws -> [TaskID: NanoDollars]
}

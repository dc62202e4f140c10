import Core
import Foundation

/// The right to write to a task: checked by every write, in SQL.
package struct Lease: Sendable, Hashable {
    package var task: TaskID
    package var worker: UUID
    package var fence: Int64

    package init(task: TaskID, worker: UUID, fence: Int64) {
        self.task = task
        self.worker = worker
        self.fence = fence
    }
}

/// Another worker owns the task, or it is deleted: whoever gets this stops at once and writes nothing more.
package struct LeaseLost: Error, Sendable, Equatable {
    package var task: TaskID
}

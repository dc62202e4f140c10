import Core
import NIOConcurrencyHelpers

/// Who waits for what in this process: workers for jobs, callers for a workspace. Other processes are found out about by polling.
package final class WorkspaceChanges: Sendable {
    let jobs = Bell()
    private let bells = NIOLockedValueBox<[WorkspaceID: (bell: Bell, users: Int)]>([:])

    package init() {}

    func tell(_ workspace: WorkspaceID) { bells.withLockedValue { $0[workspace]?.bell }?.ringAll() }

    /// Lends a bell that rings at each change of the workspace.
    func withBell<Value>(_ workspace: WorkspaceID, _ body: (Bell) async throws -> Value) async rethrows -> Value {
        let bell = bells.withLockedValue { bells in
            bells[workspace, default: (Bell(), 0)].users += 1
            return bells[workspace]?.bell ?? Bell()
        }
        defer {
            bells.withLockedValue { bells in
                bells[workspace]?.users -= 1
                if bells[workspace]?.users == 0 { bells[workspace] = nil }
            }
        }
        return try await body(bell)
    }
}

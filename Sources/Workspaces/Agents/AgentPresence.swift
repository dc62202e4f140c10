import Core
import Logging
import Postgres

/// Writes down which agents are connected. What it writes is for people to see; nothing is decided by it.
package final class AgentPresence: Sendable {
    private let store: AgentStore
    private let replica: ReplicaID
    private let logger: Logger
    private let changes: AsyncStream<(WorkspaceID, AgentSessions.Change)>
    private let tell: AsyncStream<(WorkspaceID, AgentSessions.Change)>.Continuation

    package init(pool: PostgresPool, replica: ReplicaID, logger: Logger) {
        store = AgentStore(pool: pool)
        self.replica = replica
        self.logger = logger
        (changes, tell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(10_000))
    }

    /// Never blocks.
    package func note(_ workspace: WorkspaceID, _ change: AgentSessions.Change) { tell.yield((workspace, change)) }

    package func run() async {
        for await (workspace, change) in changes {
            do {
                switch change {
                case .connected(let sandbox, let version):
                    try await store.noteConnected(workspace, replica: replica, sandbox: sandbox, version: version)
                case .disconnected: try await store.noteDisconnected(workspace, replica: replica)
                }
            } catch {
                if Task.isCancelled { return }
                logger.debug(
                    "an agent's presence was not written down", metadata: ["workspace": "\(workspace)", "error": "\(error)"])
            }
        }
    }
}

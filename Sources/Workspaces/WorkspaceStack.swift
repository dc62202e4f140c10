import Core
import Logging
import Postgres
import Provisioning

/// Everything of this target, wired, for one server process.
package struct WorkspaceStack: Sendable {
    package let service: WorkspaceService
    package let sessions: AgentSessions
    /// Start it before the worker: agents that run already connect at once. Its `close()` ends the sessions too.
    package let listener: AgentListener
    /// Its `run()` is shutdown phase 4; it ends when what it has taken on is done.
    package let worker: ProvisionerWorker
    package let reconciler: WorkspaceReconciler
    package let presence: AgentPresence
    package let agentLogs: AgentLogBook

    /// - Parameters:
    ///   - host: this machine's name for the database.
    ///   - socketPath: in the provisioner's `socketDirectory`, e.g. `<base>/sock/<process id>.sock`.
    ///   - notifications: a listener that somebody runs; nil polls.
    package init(
        pool: PostgresPool, host: String, replica: ReplicaID, provisioner: any Provisioner, socketPath: String, space: DiskSpace,
        notifications: PostgresListener?, logger: Logger
    ) {
        let presence = AgentPresence(pool: pool, replica: replica, logger: logger)
        let changes = WorkspaceChanges()
        let agentLogs = AgentLogBook(pool: pool, changes: changes, logger: logger)
        self.agentLogs = agentLogs
        let sessions = AgentSessions(
            logger: logger, onChange: { presence.note($0, $1) }, onLog: { agentLogs.note($0, $1) })
        let service = WorkspaceService(
            pool: pool, host: host, sessions: sessions, changes: changes, space: space, logger: logger)
        self.presence = presence
        self.sessions = sessions
        self.service = service
        listener = AgentListener(socketPath: socketPath, sessions: sessions, logger: logger) { await service.authenticate($0) }
        worker = ProvisionerWorker(
            pool: pool, host: host, replica: replica, provisioner: provisioner, sessions: sessions, changes: changes,
            listener: notifications, logger: logger)
        reconciler = WorkspaceReconciler(
            pool: pool, host: host, provisioner: provisioner, sessions: sessions, changes: changes, logger: logger)
    }

    /// Worker, reconciler and presence until it is cancelled; for tests and small servers.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { try? await worker.run() }
            group.addTask { try? await reconciler.run() }
            group.addTask { await presence.run() }
            group.addTask { await agentLogs.run() }
        }
    }
}

import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres
import Provisioning
import ServiceLifecycle

/// Compares what the database says runs on this machine with what does run: at start, at each death, and every 30 s.
package final class WorkspaceReconciler: Service {
    private let store: WorkspaceStore
    private let agents: AgentStore
    private let provisioner: any Provisioner
    private let sessions: AgentSessions
    private let changes: WorkspaceChanges
    private let logger: Logger
    /// Sandboxes whose death the provisioner will tell: each is adopted once.
    private let adopted = NIOLockedValueBox<Set<String>>([])

    package init(
        pool: PostgresPool, host: String, provisioner: any Provisioner, sessions: AgentSessions, changes: WorkspaceChanges,
        logger: Logger
    ) {
        store = WorkspaceStore(pool: pool, host: host)
        agents = AgentStore(pool: pool)
        self.provisioner = provisioner
        self.sessions = sessions
        self.changes = changes
        self.logger = logger
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.watchDeaths() }
                group.addTask {
                    await self.reconcile()
                    while (try? await Task.sleep(for: .seconds(30))) != nil { await self.reconcile(looksForStrays: false) }
                }
            }
        }
    }

    /// One look at everything on this machine. At the server's start it adopts the sandboxes of the server before it.
    ///
    /// - Parameter looksForStrays: also in the places of stopped workspaces, which only a server that was killed leaves sandboxes in.
    package func reconcile(looksForStrays: Bool = true) async {
        do {
            for workspace in try await store.here() {
                if Task.isCancelled { return }
                do { try await reconcile(workspace, looksForStrays) } catch {
                    logger.warning(
                        "a workspace's sandbox cannot be looked at",
                        metadata: ["workspace": "\(workspace.id)", "error": "\(error)"])
                }
            }
        } catch {
            if !Task.isCancelled { logger.warning("workspaces cannot be reconciled", metadata: ["error": "\(error)"]) }
        }
    }

    private func reconcile(_ workspace: Workspace, _ looksForStrays: Bool) async throws {
        // A build that is under way will say itself how it went.
        guard workspace.lifecycle.build.job.isOver else { return }
        switch workspace.status {
        case .running:
            guard let record = workspace.sandbox else { return }
            if try await lives(record, workspace) { return }
            let hasRestarted = record.bootID != HostBoot.id()
            try await ended(
                workspace.id, sandbox: record.sandboxID, hasRestarted ? .hostRestarted : .ended,
                hasRestarted
                    ? "The machine was restarted. Start the workspace again; its files are there."
                    : "The workspace's sandbox ended while the server was away.")
        case .stopped, .failed:
            guard looksForStrays || workspace.lifecycle.build.job == .failed else { return }
            // A start that failed half-way may have left one; nobody has its token.
            guard let place = workspace.place, let record = try await provisioner.status(workspace: workspace.id, number: place)
            else { return }
            logger.warning("a sandbox runs that should not, it is stopped", metadata: ["workspace": "\(workspace.id)"])
            // Read again: a start may have been queued since.
            guard let now = try await store.here().first(where: { $0.id == workspace.id }), now.lifecycle == workspace.lifecycle
            else { return }
            try await provisioner.stop(record)
        case .pending, .starting, .stopping, .deleting, .deleted, .unreachable: return
        }
    }

    private func lives(_ record: SandboxRecord, _ workspace: Workspace) async throws -> Bool {
        if adopted.withLockedValue({ $0.contains(record.sandboxID) }) {
            return try await provisioner.status(workspace: record.workspace, number: record.number)?.sandboxID == record.sandboxID
        }
        guard try await provisioner.adopt(record, limits: workspace.limits) else { return false }
        adopted.withLockedValue { _ = $0.insert(record.sandboxID) }
        return true
    }

    private func watchDeaths() async {
        for await death in provisioner.deaths {
            let end: SandboxEnd =
                switch death.cause {
                case .ended: .ended
                case .stopped: .stopped
                case .memory: .memory
                case .disk: .disk
                }
            while !Task.isCancelled {
                do {
                    try await ended(death.workspace, sandbox: death.sandboxID, end, death.message)
                    break
                } catch {
                    logger.warning(
                        "a sandbox's end is not written down yet",
                        metadata: ["workspace": "\(death.workspace)", "error": "\(error)"])
                    try? await Task.sleep(for: .seconds(1))
                }
            }
        }
    }

    private func ended(_ workspace: WorkspaceID, sandbox: String, _ end: SandboxEnd, _ message: String) async throws {
        adopted.withLockedValue { _ = $0.remove(sandbox) }
        guard try await store.markEnded(workspace, sandbox: sandbox, end, message) else { return }
        if end != .stopped {
            await writeDown(workspace, sandbox: sandbox, message)
            logger.notice("a sandbox ended", metadata: ["workspace": "\(workspace)", "reason": "\(message)"])
        }
        if sessions.present(workspace)?.sandbox == sandbox { sessions.disconnect(workspace) }
        changes.tell(workspace)
    }

    /// To the log of the build that started it: why it ended, and its last words.
    private func writeDown(_ workspace: WorkspaceID, sandbox: String, _ message: String) async {
        do {
            guard let (build, place) = try await store.build(of: sandbox, in: workspace) else { return }
            let text = try? await provisioner.log(workspace: workspace, number: place)
            let now = Date()
            let lines =
                LogLine.lines(message, at: now, source: .server, level: .error, stage: "Sandbox ended")
                + LogLine.lines(text ?? "", at: now, source: .provisioner, stage: "Sandbox").suffix(100)
            try await LogStore.builds(store.pool).append(lines, to: build.uuid)
        } catch {
            logger.debug("a sandbox's end is not in its log", metadata: ["workspace": "\(workspace)", "error": "\(error)"])
        }
    }
}

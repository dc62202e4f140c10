import AgentProtocol
import Core
import Foundation
import Logging
import Postgres
import Provisioning

/// Workspaces for people and for tasks: makes, finds, moves and opens them.
///
/// `everyones` is whether the principal's permission reaches beyond their own workspaces; what is out of reach is `notFound`.
package final class WorkspaceService: Sendable {
    let store: WorkspaceStore
    private let agents: AgentStore
    let sessions: AgentSessions
    let changes: WorkspaceChanges
    let open = OpenWorkspaces()
    private let space: DiskSpace
    private let logger: Logger

    /// - Parameter host: this machine, for which new workspaces are made.
    package init(
        pool: PostgresPool, host: String, sessions: AgentSessions, changes: WorkspaceChanges, space: DiskSpace, logger: Logger
    ) {
        store = WorkspaceStore(pool: pool, host: host)
        agents = AgentStore(pool: pool)
        self.sessions = sessions
        self.changes = changes
        self.space = space
        self.logger = logger
    }

    package var logs: WorkspaceLogs { WorkspaceLogs(pool: store.pool, changes: changes) }

    // MARK: Finding

    /// Newest first.
    package func list(_ principal: Principal, everyones: Bool = false, _ page: PageRequest) async throws -> Page<Workspace> {
        try await store.list(WorkspaceScope(principal, everyones: everyones), page)
    }

    /// - Throws: `notFound`, also for a deleted one.
    package func get(_ principal: Principal, everyones: Bool = false, _ id: WorkspaceID) async throws -> Workspace {
        let found = try await store.find(WorkspaceScope(principal, everyones: everyones), id)
        guard let found, found.status != .deleted else { throw AppError(.notFound, "There is no workspace \(id).") }
        return found
    }

    /// By id or name.
    package func get(_ principal: Principal, everyones: Bool = false, reference: String) async throws -> Workspace {
        if let id = WorkspaceID(reference) { return try await get(principal, everyones: everyones, id) }
        let scope = WorkspaceScope(principal, everyones: everyones)
        guard let found = try await store.find(scope, name: reference, of: principal.user) else {
            throw AppError(.notFound, "There is no workspace '\(reference)'. See: slipway workspace list")
        }
        return found
    }

    // MARK: Making and moving

    /// Makes a workspace and queues its start.
    ///
    /// - Throws: `badRequest` or `conflict` for the name, `unavailable` when the disk is nearly full.
    package func create(
        _ principal: Principal, name: String, task: TaskID? = nil, limits: SandboxLimits = .init()
    ) async throws -> Workspace {
        try WorkspaceName.check(name)
        try limits.check()
        try space.check()
        let id = WorkspaceID()
        try await store.create(principal, id, name: name, task: task, limits: limits)
        changes.jobs.ring()
        return try await get(principal, id)
    }

    package func start(_ principal: Principal, everyones: Bool = false, _ id: WorkspaceID) async throws -> Workspace {
        try await move(principal, everyones: everyones, id, .start)
    }

    /// Its files stay.
    package func stop(_ principal: Principal, everyones: Bool = false, _ id: WorkspaceID) async throws -> Workspace {
        try await move(principal, everyones: everyones, id, .stop)
    }

    /// With its files. It shows as deleting until they are gone, also for as long as its machine is away.
    package func delete(_ principal: Principal, everyones: Bool = false, _ id: WorkspaceID) async throws -> Workspace {
        try await move(principal, everyones: everyones, id, .delete)
    }

    /// Queues a build unless the workspace is there or on its way already. A build that is under way is waited for, at most 10 s.
    private func move(_ principal: Principal, everyones: Bool, _ id: WorkspaceID, _ transition: Transition) async throws
        -> Workspace
    {
        let scope = WorkspaceScope(principal, everyones: everyones)
        let giveUp = ContinuousClock.now + .seconds(10)
        return try await changes.withBell(id) { bell in
            while true {
                guard let workspace = try await store.find(scope, id) else {
                    throw AppError(.notFound, "There is no workspace \(id).")
                }
                switch workspace.lifecycle.decide(transition) {
                case .already: return workspace
                case .refuse(let code, let message): throw AppError(code, message)
                case .wait:
                    guard workspace.status != .unreachable, ContinuousClock.now < giveUp else {
                        throw AppError(
                            .conflict, "The workspace is \(workspace.status.rawValue); try again when that is over.",
                            retry: .after(.seconds(2)))
                    }
                    await bell.wait(.milliseconds(200))
                    try Task.checkCancellation()
                case .build:
                    if transition == .start { try space.check() }
                    if try await store.addBuild(principal, workspace, transition) {
                        open.forget(id)
                        await queued(workspace)
                        return try await store.find(scope, id) ?? workspace
                    }
                }
            }
        }
    }

    private func queued(_ workspace: Workspace) async {
        changes.jobs.ring()
        guard workspace.host != store.host else { return }
        // It is only a wake-up; the other machine looks every 2 s anyway.
        _ = try? await store.pool.execute("SELECT pg_notify(\(JobQueue.channel), '')")
    }

    /// Waits until no build is under way.
    ///
    /// - Throws: `timeout`; `notFound`.
    package func settled(
        _ principal: Principal, everyones: Bool = false, _ id: WorkspaceID, within patience: Duration
    ) async throws -> Workspace {
        let scope = WorkspaceScope(principal, everyones: everyones)
        let giveUp = ContinuousClock.now + patience
        return try await changes.withBell(id) { bell in
            while true {
                guard let workspace = try await store.find(scope, id) else {
                    throw AppError(.notFound, "There is no workspace \(id).")
                }
                if workspace.lifecycle.build.job.isOver { return workspace }
                guard ContinuousClock.now < giveUp else {
                    throw AppError(
                        .timeout, "Workspace '\(workspace.name)' is still \(workspace.status.rawValue) after \(patience).",
                        source: .server,
                        retry: .after(.seconds(1)))
                }
                await bell.wait(.milliseconds(250))
                try Task.checkCancellation()
            }
        }
    }

    // MARK: Agents

    /// For the agents' listener: whose token it is, nil refuses.
    package func authenticate(_ token: Secret<String>) async -> WorkspaceID? {
        do { return try await agents.workspace(of: AgentToken(text: token)) } catch {
            logger.warning("an agent's token cannot be checked", metadata: ["error": "\(error)"])
            return nil
        }
    }
}

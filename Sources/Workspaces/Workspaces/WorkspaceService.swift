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
    private let store: WorkspaceStore
    private let agents: AgentStore
    private let sessions: AgentSessions
    private let changes: WorkspaceChanges
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
        try Self.check(name: name)
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

    // MARK: Opening

    /// The agent's connection, as soon as there is one. It does not start a workspace.
    ///
    /// - Throws: `conflict` with the reason when the workspace is stopped or failed, `unavailable` when its machine is away, `timeout`.
    package func waitReady(_ principal: Principal, _ id: WorkspaceID, within patience: Duration = .seconds(30)) async throws
        -> AgentConnection
    {
        if let connection = sessions.present(id), try await get(principal, id).status == .running { return connection }
        return try await withThrowingTaskGroup(of: AgentConnection.self) { group in
            group.addTask { [sessions] in try await sessions.connection(for: id, within: patience) }
            group.addTask { [self] in try await failWhenHopeless(principal, id) }
            defer { group.cancelAll() }
            guard let connection = try await group.next() else { throw CancellationError() }
            return connection
        }
    }

    /// Throws as soon as no agent can be expected; never returns.
    private func failWhenHopeless(_ principal: Principal, _ id: WorkspaceID) async throws -> AgentConnection {
        try await changes.withBell(id) { bell in
            while true {
                let workspace = try await get(principal, id)
                let reason = workspace.reason.map { ": \($0)" } ?? "."
                switch workspace.status {
                case .pending, .starting, .running: break
                case .unreachable:
                    throw AppError(.unavailable, workspace.reason ?? "The workspace's machine is away.", retry: .after(.seconds(5)))
                case .stopped, .stopping, .failed, .deleting, .deleted:
                    throw AppError(.conflict, "Workspace '\(workspace.name)' is \(workspace.status.rawValue)\(reason)")
                }
                await bell.wait(.milliseconds(500))
                try Task.checkCancellation()
            }
        }
    }

    /// The workspace of a task, made or started when needed. Asked again, it is the same one.
    ///
    /// - Throws: `notFound` when it was deleted, else as `create`, `start` and `waitReady`.
    package func open(
        task: TaskID, name: String, principal: Principal, known: WorkspaceID? = nil, within patience: Duration = .seconds(30)
    ) async throws -> (workspace: Workspace, agent: AgentConnection) {
        var workspace: Workspace
        if let known {
            workspace = try await get(principal, known)
        } else if let found = try await store.find(principal.organization, task: task) {
            workspace = found
        } else {
            workspace = try await make(task: task, name: name, principal)
        }
        for attempt in 1...2 {
            switch workspace.status {
            case .stopped, .failed, .stopping: workspace = try await start(principal, workspace.id)
            case .deleting, .deleted: throw AppError(.notFound, "The workspace of this task was deleted.")
            case .pending, .starting, .running, .unreachable: break
            }
            do {
                let agent = try await waitReady(principal, workspace.id, within: patience)
                // The agent may be faster than the build: work begins when its sandbox is on record, for then nobody replaces it.
                return (try await settled(principal, workspace.id, within: patience), agent)
            } catch let error as AppError where error.code == .conflict && attempt == 1 {
                // It ended just now, or its first start failed: one start belongs to this call.
                let now = try await get(principal, workspace.id)
                guard now.lifecycle.build.number == workspace.lifecycle.build.number, now.lifecycle.build.job == .succeeded else {
                    throw error
                }
                workspace = now
            }
        }
        throw AppError(.unavailable, "Workspace '\(workspace.name)' does not stay up.", retry: .after(.seconds(5)))
    }

    /// Names are for people: when this one is taken, a number is added.
    private func make(task: TaskID, name: String, _ principal: Principal) async throws -> Workspace {
        let base = Self.name(from: name)
        for attempt in 1...20 {
            do {
                return try await create(principal, name: attempt == 1 ? base : "\(base)-\(attempt)", task: task)
            } catch let error as AppError where error.code == .conflict {
                continue
            } catch let error as PostgresError where error.constraint == "workspaces_task_id_key" {
                if let found = try await store.find(principal.organization, task: task) { return found }
                throw error
            }
        }
        return try await create(principal, name: "\(base)-\(task.description.suffix(12))", task: task)
    }

    /// Runs a line of bash in a running workspace. After the time it runs on, and the status says so.
    package func exec(
        _ principal: Principal, _ id: WorkspaceID, command: String, directory: String? = nil,
        within patience: Duration = .seconds(60)
    ) async throws -> ProcessOutput {
        let agent = try await waitReady(principal, id)
        let call = "exec:\(UUID().uuidString.lowercased())"
        return try await agent.run(
            ProcessStart(
                id: call, fence: Fence(0, scope: "exec"), shell: command, directory: directory, sandbox: agent.sandbox),
            within: patience)
    }

    /// For the agents' listener: whose token it is, nil refuses.
    package func authenticate(_ token: Secret<String>) async -> WorkspaceID? {
        do { return try await agents.workspace(of: AgentToken(text: token)) } catch {
            logger.warning("an agent's token cannot be checked", metadata: ["error": "\(error)"])
            return nil
        }
    }

    // MARK: Names

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    static func check(name: String) throws {
        let isPunctuated =
            name.utf8.first.map { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") } ?? true
        guard (1...64).contains(name.utf8.count), name.utf8.allSatisfy(isAllowed), !isPunctuated, UUID(uuidString: name) == nil
        else {
            throw AppError(
                .badRequest,
                "A workspace's name is 1 to 64 letters, digits, '-', '_' or '.', begins with a letter or digit, and is no UUID.",
                field: "name")
        }
    }

    /// A name out of any text, e.g. of a task's title.
    static func name(from text: String) -> String {
        let words = text.lowercased().utf8.split {
            !isAllowed($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
        }
        let name = words.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "-").prefix(40)
        let trimmed = String(name.reversed().drop { $0 == "-" }.reversed())
        return trimmed.isEmpty ? "task" : trimmed
    }
}

import AgentProtocol
import Core
import Foundation
import Postgres

extension WorkspaceService {
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
                    let more = workspace.reason == nil ? "" : " See: slipway workspace logs \(workspace.name)"
                    throw AppError(.conflict, "Workspace '\(workspace.name)' is \(workspace.status.rawValue)\(reason)\(more)")
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
        let base = WorkspaceName.from(name)
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

    /// Runs a line of bash in a workspace that runs or starts. After the time it runs on, and the status says so.
    ///
    /// - Parameter reference: id or name of one of the principal's own.
    package func exec(
        _ principal: Principal, _ reference: String, command: String, directory: String? = nil,
        within patience: Duration = .seconds(60)
    ) async throws -> ProcessOutput {
        let key = OpenWorkspaces.Key(principal, reference)
        let agent: AgentConnection
        if let known = open[key] {
            agent = known
        } else {
            let workspace = try await get(principal, reference: reference)
            if workspace.status == .running, let present = sessions.present(workspace.id) {
                agent = present
                open.remember(present, as: key)
            } else {
                agent = try await waitReady(principal, workspace.id)
            }
        }
        let call = "exec:\(UUID().uuidString.lowercased())"
        let start = ProcessStart(
            id: call, fence: Fence(0, scope: "exec"), shell: command, directory: directory, sandbox: agent.sandbox)
        do {
            return try await agent.run(start, within: patience)
        } catch let error as AppError where error.code == .unavailable && error.retry == .now {
            // The connection was lost. The same id for the same sandbox: what was begun is found, and not begun again.
            return try await waitReady(principal, agent.workspace).run(start, within: patience)
        }
    }
}

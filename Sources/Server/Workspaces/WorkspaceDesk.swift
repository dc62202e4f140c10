import API
import AgentProtocol
import Core
import Foundation
import Workspaces

/// Workspaces as the API and the pages show them. The rules are `WorkspaceService`'s.
package struct WorkspaceDesk: Sendable {
    let workspaces: WorkspaceService
    let logs: WorkspaceLogs

    package func list(_ principal: Principal, _ page: PageRequest) async throws -> WorkspaceList {
        let everyones = principal.reach(of: .readWorkspaces) == .everyones
        let found = try await workspaces.list(principal, everyones: everyones, page)
        return WorkspaceList(workspaces: found.items.map(\.shown), after: found.next)
    }

    package func get(_ principal: Principal, _ reference: String) async throws -> API.Workspace {
        try await find(principal, .readWorkspaces, reference).shown
    }

    package func create(_ principal: Principal, name: String) async throws -> API.Workspace {
        try await workspaces.create(principal, name: name).shown
    }

    package func start(_ principal: Principal, _ reference: String) async throws -> API.Workspace {
        let (id, everyones) = try await changeable(principal, reference)
        return try await workspaces.start(principal, everyones: everyones, id).shown
    }

    package func stop(_ principal: Principal, _ reference: String) async throws -> API.Workspace {
        let (id, everyones) = try await changeable(principal, reference)
        return try await workspaces.stop(principal, everyones: everyones, id).shown
    }

    package func delete(_ principal: Principal, _ reference: String) async throws -> API.Workspace {
        let (id, everyones) = try await changeable(principal, reference)
        return try await workspaces.delete(principal, everyones: everyones, id).shown
    }

    /// Own workspaces only, whatever the role.
    package func exec(_ principal: Principal, _ reference: String, _ wanted: ExecRequest) async throws -> ExecResponse {
        let seconds = wanted.timeoutSeconds ?? 60
        guard (1...3600).contains(seconds) else {
            throw AppError(.badRequest, "timeout_seconds is \(seconds); it must be from 1 to 3600.", field: "timeout_seconds")
        }
        guard !wanted.command.isEmpty, wanted.command.utf8.count <= 100_000 else {
            throw AppError(.badRequest, "The command must have 1 to 100000 bytes.", field: "command")
        }
        return try await workspaces.exec(
            principal, reference, command: wanted.command, directory: wanted.directory, within: .seconds(seconds)
        ).response
    }

    private func find(_ principal: Principal, _ action: Action, _ reference: String) async throws -> Workspaces.Workspace {
        try await workspaces.get(principal, everyones: principal.reach(of: action) == .everyones, reference: reference)
    }

    private func changeable(_ principal: Principal, _ reference: String) async throws -> (WorkspaceID, Bool) {
        (try await find(principal, .changeWorkspaces, reference).id, principal.reach(of: .changeWorkspaces) == .everyones)
    }
}

extension Workspaces.Workspace {
    var shown: API.Workspace {
        let isolation = sandbox.map { record in
            "uids \(record.isolation.uids); memory \(record.isolation.memory); processes \(record.isolation.processes); "
                + "cpu \(record.isolation.cpu); quota \(record.isolation.quota); home \(record.isolation.home)"
        }
        return API.Workspace(
            id: id.description, name: name, ownerID: owner.description, owner: ownerName, status: status.rawValue, reason: reason,
            agent: agent?.rawValue, isolation: isolation, taskID: task?.description, createdAt: createdAt, updatedAt: updatedAt)
    }
}

extension ProcessOutput {
    var response: ExecResponse {
        let (state, code, signal): (String, Int?, Int?) =
            switch status.state {
            case .running: ("running", nil, nil)
            case .exited(let code): ("exited", Int(code), nil)
            case .signaled(let number): ("signaled", nil, Int(number))
            case .unknown: ("unknown", nil, nil)
            case .refused: ("refused", nil, nil)
            }
        var output = String(decoding: data, as: UTF8.self)
        if case .refused(let reason) = status.state { output += reason }
        return ExecResponse(
            processID: status.id, state: state, exitCode: code, signal: signal, output: output,
            truncated: status.outputBytes > Int64(data.count))
    }
}

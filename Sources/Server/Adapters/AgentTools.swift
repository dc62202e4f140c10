import AgentLoop
import AgentProtocol
import Core
import Foundation
import Workspaces

/// What the loop needs of a workspace, done by its agent. Fences count within the task's scope.
///
/// Effects are bound to the sandbox: the loop has it on record before it calls, so the agent need not wait for its own disk.
struct AgentTools: WorkspaceTools {
    /// Output that is read in one go at the end of a command.
    private static let mostOutput = 4 << 20

    let agent: AgentConnection
    let scope: String

    init(agent: AgentConnection, task: TaskID) {
        self.agent = agent
        scope = "task:\(task)"
    }

    func read(_ path: String, offset: Int, limit: Int) async throws -> FileBytes {
        let content = try await agent.readFile(path, offset: Int64(offset), limit: Int64(limit))
        return FileBytes(data: content.data, size: Int(content.info.size))
    }

    func write(_ path: String, _ data: Data, effect: Effect) async throws -> EffectOutcome {
        try await outcome {
            try await agent.writeFile(path, data, call: effect.call.description, fence: fence(effect), sandbox: agent.sandbox)
        }
    }

    func list(_ path: String, depth: Int, limit: Int) async throws -> Cut<ListedFile> {
        let listing = try await agent.list(path, depth: depth, limit: limit)
        let files = listing.entries.map { ListedFile(path: $0.path, isFolder: $0.kind == .directory, size: Int($0.size)) }
        return Cut(items: files, isCut: listing.truncated != nil)
    }

    func search(pattern: String, path: String, glob: String?, limit: Int) async throws -> Cut<FoundLine> {
        let result = try await agent.search(SearchQuery(pattern: pattern, path: path, glob: glob, limit: limit))
        let lines = result.hits.map { FoundLine(path: $0.path, line: $0.line, text: $0.text) }
        return Cut(items: lines, isCut: result.truncated != nil)
    }

    func start(_ command: CommandStart, effect: Effect, wait: Duration) async throws -> CommandOutput? {
        let id = effect.call.description
        let first = try await agent.run(
            ProcessStart(
                id: id, fence: fence(effect), shell: command.command, directory: command.directory,
                environment: command.environment, sandbox: agent.sandbox),
            within: wait, from: .cursor(0))
        return try await output(id, first)
    }

    func output(_ process: AgentLoop.CallID, after cursor: Int, wait: Duration) async throws -> CommandOutput {
        let id = process.description
        return try await output(id, try await agent.output(id, from: .cursor(Int64(cursor)), limit: 1 << 20, wait: wait))
    }

    private func output(_ id: String, _ first: ProcessOutput) async throws -> CommandOutput {
        var piece = first
        var data = piece.data
        let skipped = piece.truncatedBefore
        // "Over" must mean that nothing is left to read: who is told so stops asking.
        while !piece.status.state.isRunning, !piece.isComplete, data.count < Self.mostOutput {
            let next = try await agent.output(id, from: .cursor(piece.cursor), limit: 1 << 20)
            if next.data.isEmpty, next.cursor == piece.cursor { break }
            data += next.data
            piece = next
        }
        let end = piece.status.endedAt ?? Date()
        return CommandOutput(
            state: try Self.state(piece.status), data: data, cursor: Int(piece.cursor), skipped: Int(skipped),
            runtime: .seconds(max(0, end.timeIntervalSince(piece.status.startedAt))), isComplete: piece.isComplete)
    }

    func signal(_ process: AgentLoop.CallID, _ signal: CommandSignal, effect: Effect) async throws -> EffectOutcome {
        let number: Int32 =
            switch signal {
            case .interrupt: SIGINT
            case .terminate: SIGTERM
            case .kill: SIGKILL
            }
        return try await outcome {
            // A command's jobs in groups of their own must not survive what is meant to end it.
            try await agent.signal(
                process.description, number, fence: fence(effect), target: signal == .interrupt ? .group : .session,
                call: effect.call.description)
        }
    }

    func adopt(fence: Int64) async throws { try await agent.adopt(Fence(fence, scope: scope)) }

    private func fence(_ effect: Effect) -> Fence { Fence(effect.fence, scope: scope) }

    private func outcome(_ body: () async throws -> some Any) async throws -> EffectOutcome {
        do {
            _ = try await body()
            return .done
        } catch let error as AppError {
            guard (error.cause as? AgentFailure)?.code == .unknownEffect else { throw error }
            return .unknown(error.message)
        }
    }

    private static func state(_ status: ProcessStatus) throws -> CommandState {
        switch status.state {
        case .running: .running
        case .exited(let code): .exited(Int(code))
        case .signaled(let number): .signaled(Int(number))
        case .unknown: .unknown("The sandbox was restarted while it ran; how it ended is not known.")
        case .refused(let reason): throw AppError(.badRequest, "The command cannot be run: \(reason)")
        }
    }
}

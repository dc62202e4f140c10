import Core
import Foundation

/// Makes one tool call in a workspace, or finds out how an earlier owner's attempt at it ended.
struct ToolRunner: Sendable {
    let task: TaskID
    let workspace: OpenWorkspace
    /// The repository, absolute: what relative paths start from.
    let directory: String
    let fence: Int64
    let taskName: String
    /// Commits what an edit is about to do.
    let prepare: @Sendable (Int, PreparedEdit) async throws -> Void
    /// Commands of the task by number.
    let commands: [Int: TaskSnapshot.Call]
    let preview: @Sendable (Int, String) -> Void

    var tools: any WorkspaceTools { workspace.tools }

    /// - Throws: `LeaseLost` when the workspace has heard of a newer owner, and what `prepare` throws.
    func run(_ call: TaskSnapshot.Call, stop: CallStopBox) async throws -> (
        outcome: CallOutcome, read: (process: Int, cursor: Int)?
    ) {
        let request: ToolRequest
        do { request = try ToolRequest(name: call.tool, arguments: call.arguments) } catch {
            return (.result(result(call, "\(error)", isError: true)), nil)
        }
        if call.isStarted, call.hasEffect, let sandbox = call.sandbox, sandbox != workspace.sandbox {
            return (.result(unknown(call, "the sandbox it was started in has ended")), nil)
        }
        do {
            return try await make(request, call, stop)
        } catch let error as AppError {
            switch error.code {
            case .conflict where error.field == "fence" || error.field == "call": throw LeaseLost(task: task)
            case .unavailable, .timeout, .internal, .upstream: return (.workspaceLost(error.message), nil)
            default: return (.result(result(call, error.message, isError: true)), nil)
            }
        } catch is CancellationError {
            return (stopped(call, stop.stop ?? .abandon), nil)
        }
    }

    private func make(
        _ request: ToolRequest, _ call: TaskSnapshot.Call, _ stop: CallStopBox
    ) async throws -> (CallOutcome, (process: Int, cursor: Int)?) {
        switch request {
        case .readFile(let path, let offset, let limit):
            let text = try await stop.waiting { try await readFile(path, offset: offset, limit: limit) }
            return (.result(result(call, text)), nil)
        case .listFiles(let path, let depth):
            let text = try await stop.waiting { try await listFiles(path, depth: depth) }
            return (.result(result(call, text)), nil)
        case .search(let pattern, let path, let glob, let limit):
            let text = try await stop.waiting { try await search(pattern, path: path, glob: glob, limit: limit) }
            return (.result(result(call, text)), nil)
        case .writeFile(let path, let content): return (try await writeFile(call, path, content, stop), nil)
        case .editFile(let path, let edit): return (try await editFile(call, path, edit, stop), nil)
        case .execute(let command, let folder, let seconds, let background):
            let start = CommandStart(
                command: command, directory: resolved(folder), environment: CommandEnvironment.variables(task: taskName))
            let wait: Duration = background ? .milliseconds(300) : .seconds(seconds)
            return (try await execute(call, start, wait: wait, isBackground: background, stop), nil)
        case .processOutput(let process, let seconds, let offset):
            return try await processOutput(call, process, wait: .seconds(seconds), offset: offset, stop)
        case .processSignal(let process, let signal): return (try await processSignal(call, process, signal, stop), nil)
        }
    }

    // MARK: Paths and results

    func resolved(_ path: String?) -> String {
        guard let path, path != "." else { return directory }
        if path.hasPrefix("/") { return path }
        if path == "~" { return workspace.home }
        if path.hasPrefix("~/") { return workspace.home + path.dropFirst() }
        return directory + "/" + (path.hasPrefix("./") ? String(path.dropFirst(2)) : path)
    }

    /// - Parameter outcome: what makes two results the same; the text without what differs each time.
    func result(
        _ call: TaskSnapshot.Call, _ text: String, outcome: String? = nil, isError: Bool = false, exitCode: Int? = nil,
        runtime: Duration? = nil, isChange: Bool = false, cursor: Int? = nil
    ) -> CallResult {
        CallResult(
            tool: call.tool, text: text, isError: isError, exitCode: exitCode, milliseconds: runtime.map(\.milliseconds),
            isChange: isChange,
            cursor: cursor, signature: CallSignature(tool: call.tool, arguments: call.arguments, outcome: outcome ?? text))
    }

    func refused(_ call: TaskSnapshot.Call, _ why: String) -> CallResult {
        let what = call.isFound ? "It was started once and is not started again" : "Not carried out"
        return result(
            call, "\(what): \(why) Do not try it in another way; go on without it, or say what you would need.", isError: true)
    }

    func unknown(_ call: TaskSnapshot.Call, _ why: String) -> CallResult {
        result(
            call,
            "The outcome of this call is unknown: \(why). It was started once and is not started again. "
                + "Inspect the workspace before you repeat anything.", isError: true)
    }

    /// The call was told to stop while it waited.
    private func stopped(_ call: TaskSnapshot.Call, _ stop: CallStop) -> CallOutcome {
        switch stop {
        case .abandon: .abandoned
        case .kill: .result(result(call, "The user interrupted the task during this call.", isError: true))
        case .detach: .result(result(call, Remark.limitCall, isError: true))
        }
    }
}

extension Duration {
    var milliseconds: Int { Int(components.seconds) * 1000 + Int(components.attoseconds / 1_000_000_000_000_000) }
    var secondsText: String { String(format: "%.1f s", Double(milliseconds) / 1000) }
}

/// What tells programs that nobody sits at a terminal.
enum CommandEnvironment {
    static func variables(task: String) -> [String: String] {
        [
            "PAGER": "cat", "GIT_PAGER": "cat", "MANPAGER": "cat", "EDITOR": "true", "GIT_EDITOR": "true", "VISUAL": "true",
            "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "TERM": "dumb", "NO_COLOR": "1", "CI": "true",
            "DEBIAN_FRONTEND": "noninteractive", "PIP_PROGRESS_BAR": "off", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "TQDM_DISABLE": "1",
            "PYTHONUNBUFFERED": "1", "npm_config_progress": "false", "SLIPWAY_TASK": task,
        ]
    }
}

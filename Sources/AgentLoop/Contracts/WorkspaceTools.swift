import Core
import Foundation

package typealias CallID = ID<TaskCalls.Call>

/// Names the ids of tool calls.
package enum TaskCalls {
    package enum Call {}
}

/// Who causes an effect: the agent's journal refuses a lower fence and runs a call at most once.
package struct Effect: Sendable, Hashable {
    package var call: CallID
    package var fence: Int64

    package init(call: CallID, fence: Int64) {
        self.call = call
        self.fence = fence
    }
}

/// What the agent's journal says about a call with an effect.
package enum EffectOutcome: Sendable, Equatable {
    case done
    /// It was started once and nobody knows how it ended. It is not started again.
    case unknown(String)
}

/// A part of a file's bytes.
package struct FileBytes: Sendable, Equatable {
    package var data: Data
    /// Bytes of the whole file.
    package var size: Int

    package init(data: Data, size: Int) {
        self.data = data
        self.size = size
    }
}

package struct ListedFile: Sendable, Equatable {
    /// Relative to the folder that was listed.
    package var path: String
    package var isFolder: Bool
    package var size: Int

    package init(path: String, isFolder: Bool, size: Int) {
        self.path = path
        self.isFolder = isFolder
        self.size = size
    }
}

package struct FoundLine: Sendable, Equatable {
    package var path: String
    package var line: Int
    package var text: String

    package init(path: String, line: Int, text: String) {
        self.path = path
        self.line = line
        self.text = text
    }
}

/// A list that may have been cut at its limit.
package struct Cut<Item: Sendable>: Sendable {
    package var items: [Item]
    package var isCut: Bool

    package init(items: [Item], isCut: Bool) {
        self.items = items
        self.isCut = isCut
    }
}

package struct CommandStart: Sendable, Equatable {
    /// For `bash -c`.
    package var command: String
    package var directory: String
    package var environment: [String: String]

    package init(command: String, directory: String, environment: [String: String]) {
        self.command = command
        self.directory = directory
        self.environment = environment
    }
}

package enum CommandState: Sendable, Equatable {
    case running
    case exited(Int)
    case signaled(Int)
    /// Started in a sandbox that is gone, or never heard of again.
    case unknown(String)

    package var isOver: Bool { self != .running }
}

/// Output from a cursor on, and the state at that moment.
package struct CommandOutput: Sendable, Equatable {
    package var state: CommandState
    package var data: Data
    /// Where to read on; equal to the one asked for when nothing was new.
    package var cursor: Int
    /// Bytes before the data that are no longer kept.
    package var skipped: Int
    /// Since its start; nil when the agent does not know.
    package var runtime: Duration?
    /// It is over, and this is the last of what it wrote. False says nothing: read on.
    package var isComplete: Bool

    package init(
        state: CommandState, data: Data, cursor: Int, skipped: Int = 0, runtime: Duration? = nil, isComplete: Bool = false
    ) {
        self.state = state
        self.data = data
        self.cursor = cursor
        self.skipped = skipped
        self.runtime = runtime
        self.isComplete = isComplete
    }

    /// Nothing is left to read.
    package var isLast: Bool { state.isOver && (isComplete || data.isEmpty) }
}

package enum CommandSignal: String, Sendable { case interrupt, terminate, kill }

/// Files and processes of one workspace. Paths are absolute, or relative to the workspace's home.
///
/// Every call throws `AppError`: `notFound`, `badRequest` (is a folder, no such user) and `forbidden` are the model's business and their
/// messages are told to it; `unavailable` and `timeout` mean that the workspace did not answer; `conflict` means that the fence is not the
/// newest, so the task has another owner.
package protocol WorkspaceTools: Sendable {
    func read(_ path: String, offset: Int, limit: Int) async throws -> FileBytes
    /// Makes parent folders, replaces atomically, keeps the mode of a file that exists.
    func write(_ path: String, _ data: Data, effect: Effect) async throws -> EffectOutcome
    func list(_ path: String, depth: Int, limit: Int) async throws -> Cut<ListedFile>
    func search(pattern: String, path: String, glob: String?, limit: Int) async throws -> Cut<FoundLine>
    /// Idempotent by the call's id, which is the process's name from then on.
    ///
    /// - Parameter wait: so long a command that ends soon may be waited for, which saves asking for its output.
    /// - Returns: what it wrote so far; nil when it was started and nothing was read.
    func start(_ command: CommandStart, effect: Effect, wait: Duration) async throws -> CommandOutput?
    /// Answers when there is output behind the cursor, when the command is over, or after `wait`.
    func output(_ process: CallID, after cursor: Int, wait: Duration) async throws -> CommandOutput
    /// To the whole process group.
    func signal(_ process: CallID, _ signal: CommandSignal, effect: Effect) async throws -> EffectOutcome
    /// From now on lower fences are refused.
    func adopt(fence: Int64) async throws
}

/// A workspace that is ready for work.
package struct OpenWorkspace: Sendable {
    package var id: WorkspaceID
    package var tools: any WorkspaceTools
    /// Absolute; the repository becomes a folder in it.
    package var home: String
    /// Names this start of the sandbox: calls that were started in another one have an unknown outcome.
    package var sandbox: String

    package init(id: WorkspaceID, tools: any WorkspaceTools, home: String, sandbox: String) {
        self.id = id
        self.tools = tools
        self.home = home
        self.sandbox = sandbox
    }
}

/// Finds, makes and starts the workspace of a task.
package protocol WorkspaceProvider: Sendable {
    /// Idempotent: the same task gets the same workspace, started when it is stopped.
    ///
    /// - Parameter known: the workspace the task had before.
    /// - Throws: `AppError`; with `retry` `.after` or `.now` when it may go better later.
    func open(task: TaskID, name: String, principal: Principal, known: WorkspaceID?) async throws -> OpenWorkspace
}

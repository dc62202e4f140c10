import Core
import Foundation
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import AgentLoop

/// A write that is under way when its call is told to stop.
@Suite struct StoppedWriteTests {
    /// Makes the write and then never answers.
    private struct DeafTools: WorkspaceTools {
        let sandbox: LocalSandbox
        let written: Signal

        func write(_ path: String, _ data: Data, effect: Effect) async throws -> EffectOutcome {
            _ = try await sandbox.write(path, data, effect: effect)
            written.fire()
            try await TestSupport.stall()
        }

        func read(_ path: String, offset: Int, limit: Int) async throws -> FileBytes {
            try await sandbox.read(path, offset: offset, limit: limit)
        }
        func list(_ path: String, depth: Int, limit: Int) async throws -> Cut<ListedFile> { throw Unexpected() }
        func search(pattern: String, path: String, glob: String?, limit: Int) async throws -> Cut<FoundLine> { throw Unexpected() }
        func start(_ command: CommandStart, effect: Effect, wait: Duration) async throws -> CommandOutput? { throw Unexpected() }
        func output(_ process: CallID, after cursor: Int, wait: Duration) async throws -> CommandOutput { throw Unexpected() }
        func signal(_ process: CallID, _ signal: CommandSignal, effect: Effect) async throws -> EffectOutcome { throw Unexpected() }
        func adopt(fence: Int64) async throws {}

        struct Unexpected: Error {}
    }

    private func outcome(of tool: String, _ arguments: String, _ stop: CallStop) async throws -> CallOutcome {
        let sandbox = try LocalSandbox()
        defer { sandbox.remove() }
        try Data("one\ntwo\n".utf8).write(to: sandbox.root.appendingPathComponent("f"))
        let written = Signal()
        let runner = ToolRunner(
            task: TaskID(),
            workspace: OpenWorkspace(
                id: sandbox.id, tools: DeafTools(sandbox: sandbox, written: written), home: sandbox.home,
                sandbox: sandbox.sandboxName),
            directory: sandbox.home, fence: 1, taskName: "t", prepare: { _, _ in }, commands: [:], preview: { _, _ in })
        let call = TaskSnapshot.Call(
            id: CallID(), number: 1, step: 1, tool: tool, arguments: arguments, isStarted: true, sandbox: sandbox.sandboxName,
            prepared: nil, isEnded: false, hasEffect: true, cursor: 0, modelID: "m")
        let box = CallStopBox()
        async let outcome = runner.run(call, stop: box).outcome
        await written.wait()
        box.set(stop)
        let result = try await outcome
        #expect(sandbox.text("f")?.hasPrefix("new") == true)
        return result
    }

    private static let calls = [
        ("write_file", #"{"path":"f","content":"new\n"}"#), ("edit_file", #"{"path":"f","old_text":"one","new_text":"new"}"#),
    ]

    @Test(arguments: [(CallStop.detach, "the task reached its time limit"), (.kill, "the user interrupted the task")])
    func `is unknown, and never said not to have been made`(stop: CallStop, why: String) async throws {
        for (tool, arguments) in Self.calls {
            guard case .result(let result) = try await outcome(of: tool, arguments, stop) else {
                Issue.record("no result")
                continue
            }
            #expect(result.isError && result.text.contains("The outcome of this call is unknown: \(why)"), "\(result.text)")
        }
    }

    @Test func `is the next owner's when the server stops`() async throws {
        for (tool, arguments) in Self.calls {
            guard case .abandoned = try await outcome(of: tool, arguments, .abandon) else {
                Issue.record("it was not left to the next owner")
                continue
            }
        }
    }
}

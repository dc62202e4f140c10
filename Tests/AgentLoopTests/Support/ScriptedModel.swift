import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import TestSupport

@testable import AgentLoop

/// A model that answers from the conversation alone: the reply is chosen by how many answers it has. It keeps a record, as the gateway does.
final class ScriptedModel: Sendable {
    enum Reply: Sendable {
        case answer(ModelAnswer)
        case failure(ModelFailure)
        /// Streams a word, then says nothing until it is cancelled.
        case stall
    }

    private struct State {
        var recorded: [InterceptionID: ModelAnswer] = [:]
        var calls: [ModelCall] = []
        var failures: [Int: [ModelFailure]] = [:]
    }

    private let script: @Sendable (Conversation) -> Reply
    private let state = NIOLockedValueBox(State())

    init(_ script: @escaping @Sendable (Conversation) -> Reply) { self.script = script }

    convenience init(_ replies: [Reply]) {
        self.init { conversation in
            let answers = conversation.messages.count { $0.role == .assistant }
            return answers < replies.count ? replies[answers] : .answer(.text("There is nothing left in the script."))
        }
    }

    var calls: [ModelCall] { state.withLockedValue(\.calls) }

    func note(_ call: ModelCall) { state.withLockedValue { $0.calls.append(call) } }

    func reply(to call: ModelCall) -> Reply { script(call.conversation) }

    func record(_ id: InterceptionID, _ answer: ModelAnswer) { state.withLockedValue { $0.recorded[id] = answer } }

    func recorded(_ id: InterceptionID) -> ModelAnswer? { state.withLockedValue { $0.recorded[id] } }
}

extension ModelAnswer {
    static let price = NanoDollars(1_000_000)

    static func text(_ text: String) -> ModelAnswer {
        ModelAnswer(blocks: [.text(text)], stopReason: .endTurn, usage: Usage(input: 10, output: 5), cost: price)
    }

    /// Calls as `(tool, arguments)`.
    static func calls(_ calls: (String, [String: JSONValue])...) -> ModelAnswer {
        let blocks = calls.enumerated().map { index, call in
            AnswerBlock.toolUse(
                id: "toolu_\(index)_\(call.0)", name: call.0, inputJSON: JSONValue.object(call.1).canonicalText, isComplete: true)
        }
        return ModelAnswer(blocks: blocks, stopReason: .toolUse, usage: Usage(input: 10, output: 5), cost: price)
    }
}

/// The way of one worker to model and workspace: it can be cut at a chosen point, as when the process is killed there.
final class Lifeline: Sendable {
    enum Point: String, Sendable, CaseIterable {
        case beforeSend
        case midStream
        /// The gateway has the whole answer, the worker never hears of it.
        case answerRecorded
        /// The answer is committed; the command is not started yet.
        case beforeStart
        case afterStart
        /// The command is over; its result is not committed.
        case afterEnd
        case beforeWrite
        case afterWrite
        case beforeSave
        /// Bundle and diff are made; the end is not committed.
        case afterSave
    }

    private struct State {
        var point: Point?
        var skip: Int
        var isDead = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state: NIOLockedValueBox<State>
    private let kill: @Sendable () async -> Void

    /// - Parameters:
    ///   - skip: how often the point is passed unharmed.
    ///   - kill: takes away what the worker writes with.
    init(dieAt point: Point? = nil, skip: Int = 0, kill: @escaping @Sendable () async -> Void = {}) {
        state = NIOLockedValueBox(State(point: point, skip: skip))
        self.kill = kill
    }

    var isDead: Bool { state.withLockedValue(\.isDead) }

    /// Returns unless the worker dies here, or is dead already; then never in time to matter.
    func pass(_ point: Point? = nil) async throws {
        let dies = state.withLockedValue { state -> Bool in
            if state.isDead { return false }
            guard let point, state.point == point else { return false }
            if state.skip > 0 {
                state.skip -= 1
                return false
            }
            state.isDead = true
            return true
        }
        guard isDead else { return }
        if dies {
            await kill()
            let waiters = state.withLockedValue { state in
                defer { state.waiters = [] }
                return state.waiters
            }
            for waiter in waiters { waiter.resume() }
        }
        throw Dead()
    }

    func untilDead() async {
        await withCheckedContinuation { continuation in
            let isDead = state.withLockedValue { state in
                if !state.isDead { state.waiters.append(continuation) }
                return state.isDead
            }
            if isDead { continuation.resume() }
        }
    }

    struct Dead: Error {}
}

struct LineModel: ModelClient {
    let model: ScriptedModel
    let line: Lifeline

    func call(_ call: ModelCall, preview: @escaping @Sendable (AnswerDelta) -> Void) async throws -> ModelAnswer {
        try await line.pass(.beforeSend)
        model.note(call)
        preview(.text("I "))
        try await line.pass(.midStream)
        switch model.reply(to: call) {
        case .answer(let answer):
            model.record(call.id, answer)
            try await line.pass(.answerRecorded)
            return answer
        case .failure(let failure): throw failure
        case .stall:
            try await TestSupport.stall()
        }
    }

    func recorded(_ id: InterceptionID) async throws -> ModelAnswer? {
        try await line.pass()
        return model.recorded(id)
    }
}

struct LineTools: WorkspaceTools {
    let sandbox: LocalSandbox
    let line: Lifeline

    private static func isSave(_ command: String) -> Bool { command.contains("add --all") }

    func read(_ path: String, offset: Int, limit: Int) async throws -> FileBytes {
        try await line.pass()
        return try await sandbox.read(path, offset: offset, limit: limit)
    }

    func write(_ path: String, _ data: Data, effect: Effect) async throws -> EffectOutcome {
        let isImport = path.contains("/.slipway/")
        try await line.pass(isImport ? nil : .beforeWrite)
        let outcome = try await sandbox.write(path, data, effect: effect)
        try await line.pass(isImport ? nil : .afterWrite)
        return outcome
    }

    func list(_ path: String, depth: Int, limit: Int) async throws -> Cut<ListedFile> {
        try await line.pass()
        return try await sandbox.list(path, depth: depth, limit: limit)
    }

    func search(pattern: String, path: String, glob: String?, limit: Int) async throws -> Cut<FoundLine> {
        try await line.pass()
        return try await sandbox.search(pattern: pattern, path: path, glob: glob, limit: limit)
    }

    func start(_ command: CommandStart, effect: Effect, wait: Duration) async throws -> CommandOutput? {
        let isOwn = command.environment["SLIPWAY_TASK"] == nil
        try await line.pass(isOwn ? (Self.isSave(command.command) ? .beforeSave : nil) : .beforeStart)
        let first = try await sandbox.start(command, effect: effect, wait: wait)
        if isOwn {
            if Self.isSave(command.command) {
                // The script has ended when its output has.
                while try await sandbox.output(effect.call, after: 1 << 30, wait: .seconds(10)).state == .running {}
                try await line.pass(.afterSave)
            }
        } else {
            try await line.pass(.afterStart)
        }
        return first
    }

    func output(_ process: CallID, after cursor: Int, wait: Duration) async throws -> CommandOutput {
        try await line.pass()
        let output = try await sandbox.output(process, after: cursor, wait: wait)
        if output.state.isOver, output.data.isEmpty { try await line.pass(.afterEnd) }
        return output
    }

    func signal(_ process: CallID, _ signal: CommandSignal, effect: Effect) async throws -> EffectOutcome {
        try await line.pass()
        return try await sandbox.signal(process, signal, effect: effect)
    }

    func adopt(fence: Int64) async throws {
        try await line.pass()
        try await sandbox.adopt(fence: fence)
    }
}

struct LineWorkspaces: WorkspaceProvider {
    let sandbox: LocalSandbox
    let line: Lifeline

    func open(task: TaskID, name: String, principal: Principal, known: WorkspaceID?) async throws -> OpenWorkspace {
        try await line.pass()
        guard known == nil || known == sandbox.id else { throw AppError(.notFound, "There is no workspace \(known as Any).") }
        return OpenWorkspace(
            id: sandbox.id, tools: LineTools(sandbox: sandbox, line: line), home: sandbox.home, sandbox: sandbox.sandboxName)
    }
}

import Core
import Foundation
import Glibc
import NIOConcurrencyHelpers

@testable import AgentLoop

/// A workspace in a temporary folder, with real files and real processes, and the agent's journal in memory.
///
/// It outlives the workers that use it, as a sandbox does. Anything the contract does not allow is an error of the test.
final class LocalSandbox: Sendable {
    struct Command {
        var pid: pid_t
        var output = Data()
        var state = CommandState.running
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private struct State {
        var fence: Int64 = 0
        var sandbox = UUID().uuidString
        var writes: [CallID: Bool] = [:]
        var commands: [CallID: Command] = [:]
        var lost: Set<CallID> = []
        var starts = 0
    }

    let root: URL
    let id = WorkspaceID()
    private let state = NIOLockedValueBox(State())

    init() throws {
        root = FileManager.default.temporaryDirectory.appendingPathComponent("slipway-loop-\(UUID())").resolvingSymlinksInPath()
        try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
    }

    var home: String { root.path }
    var sandboxName: String { state.withLockedValue(\.sandbox) }
    /// Processes that were really started.
    var starts: Int { state.withLockedValue(\.starts) }

    /// All processes end and are forgotten; files stay. What was started has an unknown outcome from now on.
    func restart() {
        let running = state.withLockedValue { state in
            let running = state.commands.values.filter { $0.state == .running }.map(\.pid)
            for call in state.commands.keys { state.lost.insert(call) }
            state.commands = [:]
            state.sandbox = UUID().uuidString
            return running
        }
        for pid in running { kill(-pid, SIGKILL) }
    }

    func remove() {
        restart()
        try? FileManager.default.removeItem(at: root)
    }

    func text(_ path: String) -> String? { try? String(contentsOf: root.appendingPathComponent(path), encoding: .utf8) }

    private func check(_ effect: Effect) throws {
        try state.withLockedValue { state in
            guard effect.fence >= state.fence else {
                throw AppError(.conflict, "The fence \(effect.fence) is lower than \(state.fence).", field: "fence")
            }
        }
    }

    private func url(_ path: String) -> URL { path.hasPrefix("/") ? URL(fileURLWithPath: path) : root.appendingPathComponent(path) }
}

extension LocalSandbox: WorkspaceTools {
    func adopt(fence: Int64) async throws {
        try check(Effect(call: CallID(), fence: fence))
        state.withLockedValue { $0.fence = fence }
    }

    func read(_ path: String, offset: Int, limit: Int) async throws -> FileBytes {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: url(path).path, isDirectory: &isFolder) else {
            throw AppError(.notFound, "\(path) does not exist.")
        }
        guard !isFolder.boolValue else { throw AppError(.badRequest, "\(path) is a folder.") }
        let data = try Data(contentsOf: url(path))
        return FileBytes(data: Data(data.dropFirst(offset).prefix(limit)), size: data.count)
    }

    func write(_ path: String, _ data: Data, effect: Effect) async throws -> EffectOutcome {
        try check(effect)
        let isKnown = state.withLockedValue { state in
            defer { state.writes[effect.call] = true }
            return state.writes[effect.call] != nil
        }
        if isKnown { return .done }
        try FileManager.default.createDirectory(at: url(path).deletingLastPathComponent(), withIntermediateDirectories: true)
        try data.write(to: url(path), options: .atomic)
        return .done
    }

    func list(_ path: String, depth: Int, limit: Int) async throws -> Cut<ListedFile> {
        let base = url(path)
        let names = (FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? [])
            .filter { $0.split(separator: "/").count <= depth }.sorted()
        let files = names.prefix(limit).map { name in
            var isFolder: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: base.appendingPathComponent(name).path, isDirectory: &isFolder)
            return ListedFile(path: name, isFolder: isFolder.boolValue, size: 0)
        }
        return Cut(items: files, isCut: names.count > limit)
    }

    func search(pattern: String, path: String, glob: String?, limit: Int) async throws -> Cut<FoundLine> {
        let base = url(path)
        var lines: [FoundLine] = []
        for name in (FileManager.default.enumerator(atPath: base.path)?.compactMap({ $0 as? String }) ?? []).sorted()
        where !name.hasPrefix(".git/") {
            guard let text = try? String(contentsOf: base.appendingPathComponent(name), encoding: .utf8) else { continue }
            for (number, line) in text.linesByLF.enumerated() where line.range(of: pattern, options: .regularExpression) != nil {
                lines.append(FoundLine(path: base.appendingPathComponent(name).path, line: number + 1, text: String(line)))
            }
        }
        return Cut(items: Array(lines.prefix(limit)), isCut: lines.count > limit)
    }

    /// Answers before it has read anything.
    func start(_ command: CommandStart, effect: Effect, wait: Duration) async throws -> CommandOutput? {
        guard case .unknown(let why) = try begin(command, effect) else { return nil }
        return CommandOutput(state: .unknown(why), data: Data(), cursor: 0)
    }

    private func begin(_ command: CommandStart, _ effect: Effect) throws -> CommandState {
        try check(effect)
        enum Known {
            case state(CommandState)
            case new
        }
        let known = state.withLockedValue { state -> Known in
            if state.lost.contains(effect.call) { return .state(.unknown("the sandbox was ended")) }
            return state.commands[effect.call].map { .state($0.state) } ?? .new
        }
        if case .state(let present) = known { return present }
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: command.directory, isDirectory: &isFolder), isFolder.boolValue else {
            throw AppError(.badRequest, "The directory \(command.directory) does not exist.")
        }
        let call = effect.call
        let environment = ["PATH": "/usr/bin:/bin", "HOME": home].merging(command.environment) { $1 }
        let (pid, output) = try Self.spawn(
            ["/usr/bin/bash", "-c", "cd \"$1\" && exec bash -c \"$2\"", "bash", command.directory, command.command], environment)
        state.withLockedValue { state in
            state.commands[call] = Command(pid: pid)
            state.starts += 1
        }
        Thread.detachNewThread { [self] in
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = Glibc.read(output, &buffer, buffer.count)
                if count < 0, errno == EINTR { continue }
                let data = Data(buffer.prefix(max(0, count)))
                change(call) { command in
                    command.output += data
                    if data.isEmpty { command.isClosed = true }
                }
                if count <= 0 { break }
            }
            close(output)
        }
        Thread.detachNewThread { [self] in
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0, errno == EINTR {}
            let number = Int(status & 0x7F)
            change(call) { $0.state = number == 0 ? .exited(Int(status >> 8) & 0xFF) : .signaled(number) }
        }
        return .running
    }

    private static let spawning = NSLock()

    /// In a process group of its own, with no signal blocked: Foundation's `Process` hands on the mask of Swift's threads.
    private static func spawn(_ arguments: [String], _ environment: [String: String]) throws -> (pid_t, Int32) {
        // One at a time: a pipe must not slip into another's child between its making and its mark.
        spawning.lock()
        defer { spawning.unlock() }
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw AppError(.internal, "no pipe: \(errno)") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var words = arguments.map { strdup($0) } + [nil]
        var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for word in words + variables { free(word) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, arguments[0], &actions, &attributes, &words, &variables)
        close(ends[1])
        guard failure == 0 else {
            close(ends[0])
            throw AppError(.internal, "The command could not be started: \(failure).")
        }
        return (pid, ends[0])
    }

    private func change(_ call: CallID, _ body: (inout Command) -> Void) {
        let waiters = state.withLockedValue { state -> [CheckedContinuation<Void, Never>] in
            guard var command = state.commands[call] else { return [] }
            body(&command)
            defer { state.commands[call] = command }
            defer { command.waiters = [] }
            return command.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func output(_ process: CallID, after cursor: Int, wait: Duration) async throws -> CommandOutput {
        let clock = ContinuousClock()
        let end = clock.now + wait
        while true {
            try Task.checkCancellation()
            guard let command = state.withLockedValue({ $0.commands[process] }) else {
                if state.withLockedValue({ $0.lost.contains(process) }) {
                    return CommandOutput(state: .unknown("the sandbox was ended"), data: Data(), cursor: cursor)
                }
                throw AppError(.notFound, "There is no process \(process).")
            }
            let data = Data(command.output.dropFirst(cursor).prefix(65_536))
            // A command is over when it has ended and what it wrote is read; a child may hold the pipe open, so the end alone counts too.
            let isOver = command.state.isOver && (command.isClosed || clock.now >= end)
            if !data.isEmpty || isOver || clock.now >= end {
                return CommandOutput(
                    state: isOver || !command.isClosed ? command.state : .running, data: data, cursor: cursor + data.count)
            }
            await changed(process, since: command, within: end - clock.now)
        }
    }

    private func changed(_ process: CallID, since seen: Command, within time: Duration) async {
        let timer = Task {
            try? await Task.sleep(for: time)
            change(process) { _ in }
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isGone = state.withLockedValue { state in
                    guard var command = state.commands[process], !Task.isCancelled, command.output.count == seen.output.count,
                        command.state == seen.state, command.isClosed == seen.isClosed
                    else { return true }
                    command.waiters.append(continuation)
                    state.commands[process] = command
                    return false
                }
                if isGone { continuation.resume() }
            }
        } onCancel: {
            change(process) { _ in }
        }
        timer.cancel()
    }

    func signal(_ process: CallID, _ signal: CommandSignal, effect: Effect) async throws -> EffectOutcome {
        try check(effect)
        guard let command = state.withLockedValue({ $0.commands[process] }) else { return .unknown("the sandbox was ended") }
        let number: Int32 =
            switch signal {
            case .interrupt: SIGINT
            case .terminate: SIGTERM
            case .kill: SIGKILL
            }
        kill(-command.pid, number)
        return .done
    }
}

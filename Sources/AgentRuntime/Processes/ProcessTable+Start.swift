import AgentProtocol
import CAgent
import FoundationEssentials
import Glibc
import NIOCore

extension ProcessTable {
    /// Starts a command, at most once per id.
    ///
    /// - Returns: How it stands, and whether this call began it.
    func start(_ request: ProcessStart) async throws -> (ProcessStatus, isNew: Bool) {
        let start = try zoneStart(request)
        let digest = Digest.of(request)
        let admission = try state.withLockedValue { state throws(AgentFailure) -> CallLedger.Admission in
            if state.ledger[request.id] == nil { try Self.checkRoom(state) }
            let admission = admit(
                &state.ledger, id: request.id, kind: .process, fence: request.fence, digest: digest, sandbox: request.sandbox)
            if case .new(let entry) = admission { state.live[entry.number] = Live(loop: loop) }
            return admission
        }
        switch admission {
        case .known(let entry):
            try await begun(entry.number)
            return (try status(request.id), false)
        case .stale(let present): throw Self.stale(request.fence, present)
        case .reused:
            throw Self.reused(request.id)
        case .new(let entry):
            // What was journaled is carried through, even if whoever asked goes away: nothing in it looks at cancellation.
            try await begin(entry, request, start)
            return (try status(request.id), true)
        }
    }

    /// A call that was first asked for in another sandbox does not begin in this one.
    func admit(
        _ ledger: inout CallLedger, id: String, kind: CallLedger.Kind, fence: Fence, digest: UInt64, sandbox: String?
    ) -> CallLedger.Admission {
        let now = wallMilliseconds()
        guard let sandbox, sandbox != boot, ledger[id] == nil else {
            return ledger.admit(id: id, kind: kind, fence: fence, digest: digest, now: now)
        }
        return ledger.admitLost(id: id, kind: kind, fence: fence, digest: digest, now: now)
    }

    private static func checkRoom(_ state: State) throws(AgentFailure) {
        let running = state.ledger.runningProcesses
        guard running < mostRunning else {
            throw AgentFailure(.busy, "\(running) processes run in this workspace already, which is the limit. End one first.")
        }
    }

    /// Journal, then act, then remember. Whatever throws has begun nothing and may be asked for again.
    private func begin(_ entry: CallLedger.Entry, _ request: ProcessStart, _ start: ZoneStart) async throws {
        do {
            try journal.append(.start(entry))
            // Should the machine fail now, either the disk knows that it may have begun, or the caller does.
            if request.sandbox == nil { try await journal.sync() }
        } catch {
            withdraw(entry.number)
            throw noSpace(error, "nothing was started")
        }
        var descriptors: [Int32] = []
        defer { for descriptor in descriptors { close(descriptor) } }
        do {
            descriptors.append(try outputs.create(entry.number))
            if let stdin = request.stdin { descriptors.append(try outputs.input(entry.number, stdin)) }
        } catch {
            withdraw(entry.number)
            throw noSpace(error, "nothing was started")
        }
        let started: ZoneStarted
        do { started = try await zone.start(Self.zoneID(entry.number), start, descriptors: descriptors) } catch {
            withdraw(entry.number)
            throw AgentFailure(.internal, "The workspace's zone did not take the command (\(error)); nothing was started.")
        }
        try settle(entry, request, started)
    }

    private func settle(_ entry: CallLedger.Entry, _ request: ProcessStart, _ started: ZoneStarted) throws {
        let reason = SystemError(started.errno).text
        switch (started.errno, started.stage) {
        case (0, _):
            let live = state.withLockedValue { state in
                state.live[entry.number]?.pid = started.pid
                state.live[entry.number]?.hasBegun = true
                return state.live[entry.number]
            }
            live?.turned.ring()
        case (_, .directory):
            refuse(entry.number, "The directory '\(request.directory ?? home)' cannot be entered: \(reason).")
        case (_, .exec):
            refuse(entry.number, "'\(request.command[0])' cannot be run: \(reason).")
        case (ENOSPC, .request):
            withdraw(entry.number)
            throw AgentFailure(.busy, "The workspace runs as many processes as it can. End one first.")
        default:
            withdraw(entry.number)
            throw AgentFailure(.busy, "The workspace cannot start a process now (\(reason)); nothing was started. Try again.")
        }
    }

    /// A definite no: remembered, so that asking again gets the same answer.
    private func refuse(_ number: UInt64, _ reason: String) {
        outputs.remove(number)
        end(number, .refused(reason), at: wallMilliseconds(), outputBytes: 0)
        let live = state.withLockedValue { $0.live.removeValue(forKey: number) }
        live?.turned.ring()
        live?.changed.ring()
    }

    private func withdraw(_ number: UInt64) {
        outputs.remove(number)
        let live = state.withLockedValue { state -> Live? in
            state.ledger.withdraw(number)
            return state.live.removeValue(forKey: number)
        }
        try? journal.append(.drop(number))  // if that fails too: an agent that reads it back asks the zone
        live?.turned.ring()
        live?.changed.ring()
    }

    /// Waits until a start that is under way was answered by the zone.
    private func begun(_ number: UInt64) async throws {
        while true {
            let live = state.withLockedValue { $0.live[number] }
            guard let live, !live.hasBegun else { return }
            let generation = live.turned.generation
            if state.withLockedValue({ $0.live[number]?.hasBegun ?? true }) { return }
            await live.turned.wait(after: generation, until: .now() + .seconds(5))
            try Task.checkCancellation()
        }
    }

    /// Checks a request by itself.
    private func zoneStart(_ request: ProcessStart) throws(AgentFailure) -> ZoneStart {
        func refuse(_ field: String, _ expected: String) -> AgentFailure {
            AgentFailure(.badRequest, "\(field): expected \(expected)")
        }
        guard CallID.isValid(request.id) else { throw refuse("id", "1 to 128 of A-Z a-z 0-9 . _ : @ / -") }
        guard CallID.isValid(request.fence.scope) else { throw Self.badScope }
        guard let program = request.command.first, !program.isEmpty, request.command.count <= 4096 else {
            throw refuse("command", "a program and at most 4095 arguments")
        }
        guard request.environment.keys.allSatisfy({ !$0.isEmpty && !$0.contains("=") }), request.environment.count <= 1000 else {
            throw refuse("environment", "at most 1000 names that are not empty and without '='")
        }
        guard (request.stdin?.count ?? 0) <= 1 << 20 else {
            throw refuse("stdin", "at most 1 MiB; write a file and redirect from it")
        }
        let directory = request.directory.map { $0.utf8.first == UInt8(ascii: "/") ? $0 : home + "/" + $0 } ?? home
        let variables = request.environment.map { "\($0.key)=\($0.value)" }.sorted()
        let all = [directory] + request.command + variables
        guard all.allSatisfy({ !$0.utf8.contains(0) }) else { throw refuse("command, directory, environment", "no NUL character") }
        guard all.allSatisfy({ $0.utf8.count < 131_000 }), all.reduce(0, { $0 + $1.utf8.count + 1 }) <= 130_000 else {
            throw AgentFailure(
                .tooLarge,
                "The command, its arguments and environment together may have 130000 bytes. Write a script file and run that.")
        }
        return ZoneStart(
            flags: .ring, ringCapacity: UInt32(RingFile.capacity), directory: directory, arguments: request.command,
            variables: variables)
    }
}

/// Tells a repeated call from another one under the same id. Not a defence: the server is trusted here.
struct Digest {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ bytes: UnsafeRawBufferPointer) { value = cagent_digest(value, bytes.baseAddress, bytes.count) }

    /// With an end, so that "ab", "c" is not "a", "bc".
    mutating func add(_ text: String) {
        var text = text
        text.withUTF8 { add(UnsafeRawBufferPointer($0)) }
        withUnsafeBytes(of: UInt8(0)) { add($0) }
    }

    static func of(_ request: ProcessStart) -> UInt64 {
        var digest = Digest()
        for text in request.command { digest.add(text) }
        digest.add(request.directory ?? "")
        for (name, value) in request.environment.sorted(by: { $0.key < $1.key }) { digest.add("\(name)=\(value)") }
        if let stdin = request.stdin { stdin.withUnsafeBytes { digest.add($0) } }
        return digest.value
    }
}

import AgentProtocol
import FoundationEssentials
import Glibc
import NIOConcurrencyHelpers
import NIOCore

/// The workspace's processes and everything else with an effect: who may begin it, how it ended, what it wrote.
///
/// The zone runs the commands and keeps how they ended; the ledger says which calls they belong to. Both outlive this agent.
final class ProcessTable: Sendable {
    /// What is known of a command of this sandbox beyond its ledger entry.
    struct Live: Sendable {
        var pid: Int32 = 0
        /// False until the zone answered the start.
        var hasBegun = false
        var outputBytes: Int64 = 0
        var outputOpen = true
        var cpuMicroseconds: Int64?
        var peakMemoryKiB: Int64?
        /// Whether the journal has how it ended.
        var isRecorded = false
        /// Whether a timer tries to record it again.
        var willSettle = false
        /// Whether the zone was told to forget it, which it only is behind the record.
        var isForgotten = false
        /// Any change.
        let changed: Bell
        /// The beginning and the end.
        let turned: Bell

        init(loop: any EventLoop) { (changed, turned) = (Bell(loop: loop), Bell(loop: loop)) }
    }

    struct State: Sendable {
        var ledger: CallLedger
        var live: [UInt64: Live] = [:]
        /// Ended commands whose output is still kept, oldest first.
        var kept: [(number: UInt64, bytes: Int64)] = []
    }

    static let mostRunning = 64
    static let mostKept = 200
    static let mostKeptBytes: Int64 = 256 << 20

    let state: NIOLockedValueBox<State>
    let journal: Journal
    let outputs: OutputStore
    let zone: ZoneClient
    let loop: any EventLoop
    let home: String
    let boot: String
    let log: AgentLog

    init(
        ledger: CallLedger, journal: Journal, outputs: OutputStore, zone: ZoneClient, loop: any EventLoop, home: String,
        boot: String,
        log: AgentLog
    ) {
        state = NIOLockedValueBox(State(ledger: ledger))
        (self.journal, self.outputs, self.zone, self.loop) = (journal, outputs, zone, loop)
        (self.home, self.boot, self.log) = (home, boot, log)
    }

    static func zoneID(_ number: UInt64) -> String { "c\(number)" }
    static func number(zoneID: String) -> UInt64? { zoneID.first == "c" ? UInt64(zoneID.dropFirst()) : nil }

    // MARK: Answers

    func status(_ id: String) throws(AgentFailure) -> ProcessStatus {
        guard let status = state.withLockedValue({ state in state.ledger[id].map { Self.status($0, state) } }) else {
            throw AgentFailure(.notFound, "No process has the id '\(id.prefix(128))' in this workspace.")
        }
        return status
    }

    /// The newest first, at most `limit`.
    func list(limit: Int) -> [ProcessStatus] {
        state.withLockedValue { state in
            state.ledger.entries.values.filter { $0.kind == .process }.sorted { $0.number > $1.number }.prefix(limit)
                .map { Self.status($0, state) }
        }
    }

    /// Raises the fence of a scope.
    func adopt(_ fence: Fence) throws(AgentFailure) {
        guard CallID.isValid(fence.scope) else { throw Self.badScope }
        let (present, isHigher) = state.withLockedValue { state -> (Fence?, Bool) in
            let before = state.ledger.fences[fence.scope]
            return (state.ledger.adopt(fence), before != fence.number)
        }
        if let present { throw Self.stale(fence, present) }
        guard isHigher else { return }
        do { try journal.append(.fence(fence)) } catch { throw noSpace(error, "the fence was not recorded") }
    }

    var counts: (running: Int, calls: Int, fences: [String: Int64]) {
        state.withLockedValue { state in
            (state.ledger.runningProcesses, state.ledger.entries.count, state.ledger.fences)
        }
    }

    static func status(_ entry: CallLedger.Entry, _ state: State) -> ProcessStatus {
        let live = state.live[entry.number]
        let stateNow: ProcessState =
            switch entry.result {
            case nil: .running
            case .exited(let code): .exited(code)
            case .signaled(let signal): .signaled(signal)
            case .refused(let reason): .refused(reason)
            case .unknown: .unknown
            case .written: .exited(0)
            }
        return ProcessStatus(
            id: entry.id, state: stateNow, pid: live.map(\.pid), startedAt: date(entry.startedAt), endedAt: entry.endedAt.map(date),
            outputBytes: live?.outputBytes ?? entry.outputBytes, outputOpen: live?.outputOpen ?? false,
            cpuMicroseconds: live?.cpuMicroseconds, peakMemoryKiB: live?.peakMemoryKiB)
    }

    static func date(_ milliseconds: Int64) -> Date { Date(timeIntervalSince1970: Double(milliseconds) / 1000) }

    static func stale(_ fence: Fence, _ present: Fence) -> AgentFailure {
        AgentFailure(
            .staleFence,
            "Refused: the fence \(fence) is older than \(present), which this agent has seen. Another worker has taken over.",
            fence: present)
    }

    static let badScope = AgentFailure(.badRequest, "fence.scope: expected 1 to 128 of A-Z a-z 0-9 . _ : @ / -")

    func noSpace(_ error: any Error, _ consequence: String) -> AgentFailure {
        let reason = (error as? SystemError)?.text ?? "\(error)"
        log.error("journal: \(reason)")
        let code: AgentFailure.Code =
            (error as? SystemError).map { [ENOSPC, EDQUOT, EFBIG].contains($0.number) } == true ? .noSpace : .internal
        return AgentFailure(
            code, "The agent cannot write to its disk (\(reason)); \(consequence). Free disk space, then try again.")
    }
}

import AgentProtocol
import Glibc

extension ProcessTable {
    /// Sends a signal; with a call id at most once.
    func signal(_ id: String, _ request: ProcessSignal) async throws {
        guard (0...64).contains(request.signal) else {
            throw AgentFailure(.badRequest, "signal: expected a number from 0 to 64")
        }
        guard CallID.isValid(request.fence.scope) else { throw Self.badScope }
        guard let call = request.call else {
            try adopt(request.fence)
            return try await send(id, request)
        }
        guard CallID.isValid(call) else {
            throw AgentFailure(.badRequest, "call: expected 1 to 128 of A-Z a-z 0-9 . _ : @ / -")
        }
        var digest = Digest()
        for text in [id, "\(request.signal)", request.target.rawValue] { digest.add(text) }
        let value = digest.value
        let admission = state.withLockedValue {
            $0.ledger.admit(id: call, kind: .signal, fence: request.fence, digest: value, now: wallMilliseconds())
        }
        switch admission {
        case .new(let entry):
            // Not structured: once journaled it is carried through, even if whoever asked goes away. Awaited here all the same.
            try await Task { try await self.send(entry, id, request) }.value
        case .known(let entry): try Self.repeated(entry)
        case .stale(let present): throw Self.stale(request.fence, present)
        case .reused: throw Self.reused(call)
        }
    }

    static func reused(_ call: String) -> AgentFailure {
        AgentFailure(.callReused, "The call id '\(call)' belongs to another call. Use a new id for a new call.")
    }

    /// Nobody waits for the disk here: what a failing machine could make us forget fails with the process it was for.
    private func send(_ entry: CallLedger.Entry, _ id: String, _ request: ProcessSignal) async throws {
        do { try journal.append(.start(entry)) } catch {
            state.withLockedValue { $0.ledger.withdraw(entry.number) }
            throw noSpace(error, "no signal was sent")
        }
        do {
            try await send(id, request)
            end(entry.number, .exited(0), at: wallMilliseconds(), outputBytes: 0)
        } catch {
            let reason = (error as? AgentFailure)?.message ?? "\(error)"
            end(entry.number, .refused(reason), at: wallMilliseconds(), outputBytes: 0)
            throw error
        }
    }

    private static func repeated(_ entry: CallLedger.Entry) throws(AgentFailure) {
        switch entry.result {
        case .exited: return
        case .refused(let reason): throw AgentFailure(.notFound, reason)
        case nil: throw AgentFailure(.busy, "The signal '\(entry.id)' is under way. Ask again.")
        default:
            throw AgentFailure(
                .unknownEffect,
                "The signal '\(entry.id)' was begun, and it cannot be known whether it was sent. Look at the process.")
        }
    }

    private func send(_ id: String, _ request: ProcessSignal) async throws {
        let status = try status(id)
        let number = state.withLockedValue { $0.ledger[id]?.number } ?? 0
        let ended = AgentFailure(.notFound, "Process '\(id)' has ended, and nothing of it is left to signal.")
        guard status.state.isRunning || status.outputOpen else { throw ended }
        let scope: UInt32 =
            switch request.target {
            case .leader: 0
            case .group: 1
            case .session: 2
            }
        switch try await zone.signal(Self.zoneID(number), request.signal, scope: scope) {
        case 0: return
        case ESRCH, ENOENT: throw ended
        case let error: throw AgentFailure(.denied, "Process '\(id)' cannot be signalled: \(SystemError(error).text).")
        }
    }
}

import AgentProtocol
import FoundationEssentials
import Glibc
import NIOCore

extension ProcessTable {
    static let mostOutput = 1 << 20
    /// As much is read where it is asked for; the way to a thread that may block takes longer.
    private static let mostAtOnce: Int64 = 1 << 16

    /// Reads output; waits if there is none yet.
    func output(
        _ id: String, from position: OutputPosition, limit: Int, wait: OutputWait, until deadline: NIODeadline, pool: BlockingPool
    ) async throws -> ProcessOutput {
        let first = try status(id)
        let number = state.withLockedValue { $0.ledger[id]?.number } ?? 0
        let cursor: Int64? =
            switch position {
            case .cursor(let cursor): cursor
            case .tail: nil
            }
        if let cursor, cursor < 0 { throw AgentFailure(.badRequest, "cursor: expected 0 or more") }
        if let cursor, cursor > first.outputBytes, !first.state.isRunning {
            throw AgentFailure(.badRequest, "cursor: expected at most \(first.outputBytes), the end of the output")
        }
        await self.wait(number, after: cursor ?? 0, for: wait, until: deadline)
        try Task.checkCancellation()
        // The status first: what an ended process wrote is all there when its end is told.
        let status = try status(id)
        if status.outputBytes <= Self.mostAtOnce { return try read(number, status, position, limit: min(limit, Self.mostOutput)) }
        return try await pool.run { try self.read(number, status, position, limit: min(limit, Self.mostOutput)) }
    }

    private func wait(_ number: UInt64, after cursor: Int64, for wait: OutputWait, until deadline: NIODeadline) async {
        while NIODeadline.now() < deadline, !Task.isCancelled {
            guard let live = state.withLockedValue({ $0.live[number] }) else { return }
            let bell = wait == .output ? live.changed : live.turned
            let generation = bell.generation
            let isDue = state.withLockedValue { state -> Bool in
                guard let live = state.live[number], let entry = state.ledger.entries[number] else { return true }
                return entry.result != nil || (wait == .output && live.outputBytes > cursor)
            }
            if isDue { return }
            await bell.wait(after: generation, until: deadline)
        }
    }

    private func read(_ number: UInt64, _ status: ProcessStatus, _ position: OutputPosition, limit: Int) throws -> ProcessOutput {
        var cursor: Int64?
        var tail: Int64?
        switch position {
        case .cursor(let place): cursor = place
        case .tail(let count): tail = max(0, min(count, Int64(limit)))
        }
        var status = status
        do {
            let piece = try RingFile.read(outputs.path(number), cursor: cursor, tail: tail, limit: limit)
            status.outputBytes = max(status.outputBytes, piece.total)
            return ProcessOutput(
                status: status, data: piece.data, cursor: piece.start + Int64(piece.data.count),
                truncatedBefore: cursor.map { max(0, piece.start - $0) } ?? 0)
        } catch {
            // Nothing was ever written, or it is no longer kept.
            let end = status.state.isRunning ? cursor ?? 0 : status.outputBytes
            return ProcessOutput(status: status, data: Data(), cursor: end, truncatedBefore: cursor.map { max(0, end - $0) } ?? 0)
        }
    }
}

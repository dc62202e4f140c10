import AgentProtocol
import Glibc

/// What comes from the zone: ends, output, and after a restart the whole table.
extension ProcessTable {
    func handle(_ event: ZoneEvent) {
        switch event {
        case .output(let id, let total):
            guard let number = Self.number(zoneID: id) else { return }
            let live = state.withLockedValue { state in
                state.live[number]?.outputBytes = Int64(clamping: total)
                return state.live[number]
            }
            live?.changed.ring()
        case .status(let id, let status):
            if let number = Self.number(zoneID: id) { update(number, status) }
        case .gone: break
        }
    }

    /// After a restart in the same sandbox: what the zone still has runs or ran; what it does not have never began.
    func adopt(_ table: [String: ZoneStatus]) {
        let open = state.withLockedValue { state in
            state.ledger.open.compactMap { state.ledger.entries[$0] }
        }
        for entry in open {
            switch entry.kind {
            case .process where table[Self.zoneID(entry.number)] == nil:
                // Its start was journaled, but did not reach the zone: the zone had read all when it told its table.
                outputs.remove(entry.number)
                state.withLockedValue { $0.ledger.withdraw(entry.number) }
                try? journal.append(.drop(entry.number))
            case .process: break
            case .write, .signal: end(entry.number, .unknown, at: wallMilliseconds(), outputBytes: 0)
            }
        }
        for (id, status) in table {
            guard let number = Self.number(zoneID: id) else { continue }
            let isKnown = state.withLockedValue { state -> Bool in
                guard state.ledger.entries[number]?.isOfThisBoot == true else { return false }
                state.live[number] = Live(loop: loop)
                state.live[number]?.hasBegun = true
                // What the journal gave back has its line in it.
                state.live[number]?.isRecorded = state.ledger.entries[number]?.result != nil
                return true
            }
            if isKnown { update(number, status) } else { forget(id) }
        }
        adoptOutputs(except: Set(table.keys))
    }

    /// Outputs of commands that the zone has forgotten count as kept; those of no command go.
    private func adoptOutputs(except table: Set<String>) {
        for number in outputs.numbers().sorted() where !table.contains(Self.zoneID(number)) {
            let isEnded = state.withLockedValue { $0.ledger.entries[number]?.isOfThisBoot == true }
            if isEnded { keep(number) } else { outputs.remove(number) }
        }
    }

    private func update(_ number: UInt64, _ status: ZoneStatus) {
        let (live, isNewEnd, hasTurned) = state.withLockedValue { state -> (Live?, Bool, Bool) in
            guard var live = state.live[number], let entry = state.ledger.entries[number] else { return (nil, false, false) }
            let isNewEnd = status.state != .running && entry.result == nil
            let hasTurned = isNewEnd || !live.hasBegun
            live.pid = status.pid
            live.hasBegun = true
            live.outputBytes = max(live.outputBytes, Int64(clamping: status.outputBytes))
            live.outputOpen = status.outputOpen
            if status.state != .running {
                live.cpuMicroseconds = Int64(clamping: status.cpuMicroseconds)
                live.peakMemoryKiB = Int64(clamping: status.peakMemoryKiB)
            }
            state.live[number] = live
            return (live, isNewEnd, hasTurned)
        }
        guard let live else { return }
        if isNewEnd {
            let end: CallLedger.Result = status.state == .killed ? .signaled(Int32(status.code)) : .exited(Int32(status.code))
            let endedAt = Int64(status.endedNanoseconds / 1_000_000)
            state.withLockedValue { $0.ledger.end(number, end, now: endedAt, outputBytes: live.outputBytes) }
        }
        if hasTurned { live.turned.ring() }
        live.changed.ring()
        // Whoever waits need not wait for the disk: until it is told to forget, the zone can tell a new agent the same.
        if status.state != .running { settle(number) }
    }

    /// Puts the end of a command on record, and lets the zone forget what is over. In this order: a command that neither knew would
    /// count as never begun, and be run a second time.
    private func settle(_ number: UInt64) {
        let unrecorded = state.withLockedValue { state in
            state.live[number]?.isRecorded == false ? state.ledger.entries[number] : nil
        }
        if let entry = unrecorded, let result = entry.result {
            guard record(number, result, at: entry.endedAt ?? entry.startedAt, outputBytes: entry.outputBytes) else {
                return settleLater(number)
            }
            state.withLockedValue { $0.live[number]?.isRecorded = true }
        }
        let isOver = state.withLockedValue { state in
            guard let live = state.live[number], live.isRecorded, !live.outputOpen, !live.isForgotten else { return false }
            state.live[number]?.isForgotten = true
            return true
        }
        guard isOver else { return }
        keep(number)
        forget(Self.zoneID(number))
        outputs.prepare(state.withLockedValue { $0.ledger.nextNumber })
    }

    /// A full disk may have room again.
    private func settleLater(_ number: UInt64) {
        let isFirst = state.withLockedValue { state -> Bool in
            defer { state.live[number]?.willSettle = true }
            return state.live[number]?.willSettle == false
        }
        guard isFirst else { return }
        loop.scheduleTask(in: .seconds(1)) { [self] in
            state.withLockedValue { $0.live[number]?.willSettle = false }
            settle(number)
        }
    }

    /// Remembers a result. What has no line for it in the journal is unknown to the next agent.
    func end(_ number: UInt64, _ result: CallLedger.Result, at: Int64, outputBytes: Int64) {
        state.withLockedValue { $0.ledger.end(number, result, now: at, outputBytes: outputBytes) }
        _ = record(number, result, at: at, outputBytes: outputBytes)
    }

    /// - Returns: whether the journal took it.
    private func record(_ number: UInt64, _ result: CallLedger.Result, at: Int64, outputBytes: Int64) -> Bool {
        do { try journal.append(.end(number, result, at: at, outputBytes: outputBytes)) } catch {
            log.error("a result was not recorded: \((error as? SystemError)?.text ?? "\(error)")")
            return false
        }
        compactIfLong()
        return true
    }

    private func compactIfLong() {
        guard journal.size > 8 << 20 else { return }
        state.withLockedValue { state in
            state.ledger.prune(keeping: 10_000)
            do { try journal.compact(state.ledger.snapshot(boot: boot)) } catch { log.error("journal not shortened: \(error)") }
        }
    }

    private func forget(_ id: String) {
        // Not awaited: events come on the thread that would read the reply.
        Task { _ = try? await zone.forget(id) }
    }

    /// Its output is final. The oldest outputs go when there are too many or too large ones.
    private func keep(_ number: UInt64) {
        let bytes = outputs.bytesOnDisk(number)
        let removed = state.withLockedValue { state -> [UInt64] in
            state.kept.append((number, bytes))
            var sum = state.kept.reduce(0) { $0 + $1.bytes }
            var removed: [UInt64] = []
            while state.kept.count > Self.mostKept || (sum > Self.mostKeptBytes && state.kept.count > 1) {
                let oldest = state.kept.removeFirst()
                sum -= oldest.bytes
                removed.append(oldest.number)
                if let live = state.live.removeValue(forKey: oldest.number) {
                    state.ledger.keepOutputBytes(oldest.number, live.outputBytes)
                }
            }
            return removed
        }
        for number in removed { outputs.remove(number) }
    }
}

extension CallLedger {
    mutating func keepOutputBytes(_ number: UInt64, _ bytes: Int64) {
        guard let entry = entries[number], let result = entry.result else { return }
        end(number, result, now: entry.endedAt ?? entry.startedAt, outputBytes: bytes)
    }
}

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
        let (live, isNewEnd, isOver, hasTurned) = state.withLockedValue { state -> (Live?, Bool, Bool, Bool) in
            guard var live = state.live[number], let entry = state.ledger.entries[number] else { return (nil, false, false, false) }
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
            let isOver = status.state != .running && !status.outputOpen && !live.isForgotten
            if isOver { live.isForgotten = true }
            state.live[number] = live
            return (live, isNewEnd, isOver, hasTurned)
        }
        guard let live else { return }
        let end: CallLedger.Result = status.state == .killed ? .signaled(Int32(status.code)) : .exited(Int32(status.code))
        let endedAt = Int64(status.endedNanoseconds / 1_000_000)
        if isNewEnd {
            state.withLockedValue { $0.ledger.end(number, end, now: endedAt, outputBytes: live.outputBytes) }
        }
        if hasTurned { live.turned.ring() }
        live.changed.ring()
        // Whoever waits need not wait for the disk: until it is told to forget, the zone can tell a new agent the same.
        if isNewEnd { record(number, end, at: endedAt, outputBytes: live.outputBytes) }
        if isOver {
            keep(number)
            forget(Self.zoneID(number))
            outputs.prepare(state.withLockedValue { $0.ledger.nextNumber })
        }
    }

    /// Remembers a result. The zone keeps it too until it is told to forget, so a journal that cannot be written loses nothing yet.
    func end(_ number: UInt64, _ result: CallLedger.Result, at: Int64, outputBytes: Int64) {
        state.withLockedValue { $0.ledger.end(number, result, now: at, outputBytes: outputBytes) }
        record(number, result, at: at, outputBytes: outputBytes)
    }

    private func record(_ number: UInt64, _ result: CallLedger.Result, at: Int64, outputBytes: Int64) {
        do { try journal.append(.end(number, result, at: at, outputBytes: outputBytes)) } catch {
            log.error("a result was not recorded: \((error as? SystemError)?.text ?? "\(error)")")
        }
        compactIfLong()
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

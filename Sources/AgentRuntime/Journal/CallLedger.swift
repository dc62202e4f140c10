import AgentProtocol

/// Which calls with an effect were begun, how they ended, and whose turn it is. A pure value; the journal is its memory.
///
/// A call begins at most once: its id is known before anything happens. What an earlier sandbox began and did not end is unknown.
struct CallLedger: Sendable {
    enum Kind: String, Sendable { case process, write, signal }

    enum Result: Sendable, Equatable {
        case exited(Int32)
        case signaled(Int32)
        /// Nothing happened, and why.
        case refused(String)
        case written(size: Int64, created: Bool)
        case unknown
    }

    struct Entry: Sendable, Equatable {
        /// Its number in the journal; names its files and its command in the zone.
        var number: UInt64
        var id: String
        var kind: Kind
        var fence: Fence
        /// Tells a repetition from another call with the same id.
        var digest: UInt64
        var startedAt: Int64
        /// False if an earlier sandbox began it.
        var isOfThisBoot: Bool
        var result: Result?
        var endedAt: Int64?
        var outputBytes: Int64
    }

    enum Admission: Sendable, Equatable {
        case new(Entry)
        case known(Entry)
        case stale(present: Fence)
        case reused
    }

    private(set) var entries: [UInt64: Entry] = [:]
    private(set) var fences: [String: Int64] = [:]
    /// Without a result: begun and not ended.
    private(set) var open: Set<UInt64> = []
    private var numbers: [String: UInt64] = [:]
    private var lastNumber: UInt64 = 0

    /// What the next call that is admitted will have.
    var nextNumber: UInt64 { lastNumber + 1 }

    /// Commands that run, or are about to.
    var runningProcesses: Int { open.count { entries[$0]?.kind == .process } }

    subscript(id: String) -> Entry? { numbers[id].flatMap { entries[$0] } }

    /// A call wants to begin. A known call is answered whatever its fence: nothing is done for it.
    mutating func admit(id: String, kind: Kind, fence: Fence, digest: UInt64, now: Int64) -> Admission {
        if let known = self[id] {
            return known.kind == kind && known.digest == digest ? .known(known) : .reused
        }
        if let present = adopt(fence) { return .stale(present: present) }
        lastNumber += 1
        let entry = Entry(
            number: lastNumber, id: id, kind: kind, fence: fence, digest: digest, startedAt: now, isOfThisBoot: true, outputBytes: 0
        )
        insert(entry)
        return .new(entry)
    }

    /// It was first asked for in another sandbox, and nothing is known of it here: perhaps it began there.
    mutating func admitLost(id: String, kind: Kind, fence: Fence, digest: UInt64, now: Int64) -> Admission {
        guard case .new(var entry) = admit(id: id, kind: kind, fence: fence, digest: digest, now: now) else {
            return admit(id: id, kind: kind, fence: fence, digest: digest, now: now)
        }
        end(entry.number, .unknown, now: now)
        entry = entries[entry.number] ?? entry
        return .known(entry)
    }

    /// Raises the fence of a scope; the present one comes back if that is higher.
    mutating func adopt(_ fence: Fence) -> Fence? {
        if let present = fences[fence.scope], present > fence.number { return Fence(present, scope: fence.scope) }
        fences[fence.scope] = fence.number
        return nil
    }

    /// It never began: it may be asked for again.
    mutating func withdraw(_ number: UInt64) {
        guard let entry = entries.removeValue(forKey: number) else { return }
        numbers[entry.id] = nil
        open.remove(number)
    }

    mutating func end(_ number: UInt64, _ result: Result, now: Int64, outputBytes: Int64 = 0) {
        entries[number]?.result = result
        entries[number]?.endedAt = now
        entries[number]?.outputBytes = outputBytes
        open.remove(number)
    }

    /// A new sandbox: whatever has no result will never get one.
    mutating func beginBoot() {
        for (number, entry) in entries {
            entries[number]?.isOfThisBoot = false
            if entry.result == nil { entries[number]?.result = .unknown }
        }
        open = []
    }

    /// Forgets the oldest ended calls beyond `limit`, which is far more than can still be asked for again.
    mutating func prune(keeping limit: Int) {
        guard entries.count > limit else { return }
        let ended = entries.values.filter { $0.result != nil }.map(\.number).sorted()
        for number in ended.prefix(entries.count - limit) { withdraw(number) }
    }

    private mutating func insert(_ entry: Entry) {
        entries[entry.number] = entry
        numbers[entry.id] = entry.number
        if entry.result == nil { open.insert(entry.number) }
        lastNumber = max(lastNumber, entry.number)
    }
}

// MARK: - The journal's records

extension CallLedger {
    /// One line of the journal. Ids and scopes have no spaces; reasons are escaped.
    enum Record: Sendable, Equatable {
        case boot(String)
        case fence(Fence)
        case start(Entry)
        case end(UInt64, Result, at: Int64, outputBytes: Int64)
        case drop(UInt64)
        /// The highest number ever given, when its entry was pruned.
        case last(UInt64)
    }

    /// Takes one record, in the journal's order. `boot` is the present sandbox.
    mutating func replay(_ record: Record) {
        switch record {
        case .boot: beginBoot()
        case .fence(let fence): _ = adopt(fence)
        case .start(let entry):
            _ = adopt(entry.fence)
            insert(entry)
        case .end(let number, let result, let at, let bytes): end(number, result, now: at, outputBytes: bytes)
        case .drop(let number): withdraw(number)
        case .last(let number): lastNumber = max(lastNumber, number)
        }
    }

    /// The shortest journal that gives this ledger, in boot `boot`.
    func snapshot(boot: String) -> [Record] {
        let sorted = entries.values.sorted { $0.number < $1.number }
        func records(_ entries: [Entry]) -> [Record] {
            entries.flatMap { entry -> [Record] in
                guard let result = entry.result else { return [.start(entry)] }
                return [
                    .start(entry), .end(entry.number, result, at: entry.endedAt ?? entry.startedAt, outputBytes: entry.outputBytes),
                ]
            }
        }
        return [.last(lastNumber)] + fences.sorted { $0.key < $1.key }.map { .fence(Fence($0.value, scope: $0.key)) }
            + records(sorted.filter { !$0.isOfThisBoot }) + [.boot(boot)] + records(sorted.filter(\.isOfThisBoot))
    }
}

/// What was used in the last minute, in slots of five seconds. A pure value.
///
/// A minute that ends now touches at most 13 slots, so the sum of 13 is never less than what was used in it.
struct RateWindow: Sendable, Equatable {
    static let slots = 13
    static let slotSeconds: Int64 = 5

    /// The newest slot: seconds since 1970 / 5.
    private(set) var slot: Int64
    /// A ring: the slot `n` is at `n % 13`.
    private(set) var counts: [Int64]

    init(slot: Int64 = 0, counts: [Int64] = Array(repeating: 0, count: slots)) {
        self.slot = slot
        self.counts = counts
    }

    static func slot(atMicroseconds now: Int64) -> Int64 { now / (slotSeconds * 1_000_000) }

    var total: Int64 { counts.reduce(0, +) }

    /// Forgets what is older than the slot. A slot of the past changes nothing, but for one that lies back further than the window is
    /// long: then somebody set a clock, and everything is forgotten.
    mutating func advance(to now: Int64) {
        let steps = now - slot
        if steps >= Int64(Self.slots) || steps <= -Int64(Self.slots) {
            counts = Array(repeating: 0, count: Self.slots)
            slot = now
        } else if steps > 0 {
            for passed in slot + 1...now { counts[Self.index(passed)] = 0 }
            slot = now
        }
    }

    mutating func add(_ amount: Int64) { counts[Self.index(slot)] += amount }

    /// In how many slots the amount fits under the limit; 0: now. What is larger than the limit fits when nothing else is counted.
    func slotsUntil(_ amount: Int64, fitsUnder limit: Int64) -> Int {
        let wanted = min(amount, limit)
        var rest = total
        if rest + wanted <= limit { return 0 }
        for step in 1...Self.slots {
            rest -= counts[Self.index(slot + Int64(step))]
            if rest + wanted <= limit { return step }
        }
        return Self.slots
    }

    private static func index(_ slot: Int64) -> Int { Int(slot % Int64(slots)) }
}

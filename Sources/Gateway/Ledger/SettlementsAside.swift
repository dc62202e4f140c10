import Core
import Foundation

/// Settlements that the database refuses one by one, and when each is tried again: after a second, then twice as long each time, up to
/// 15 seconds. A pure rule.
struct SettlementsAside: Sendable {
    private struct Entry: Sendable {
        var settlement: Settlement
        var pause: Duration
        var due: ContinuousClock.Instant
        /// It is being tried.
        var isMarked = false
    }

    static let first = Duration.seconds(1)
    static let longest = Duration.seconds(15)

    private var entries: [InterceptionID: Entry] = [:]

    var count: Int { entries.count }

    func contains(_ id: InterceptionID) -> Bool { entries[id] != nil }

    /// It was refused, for the first time or again.
    mutating func put(_ settlement: Settlement, at now: ContinuousClock.Instant) {
        let pause = entries[settlement.interception].map { min($0.pause * 2, Self.longest) } ?? Self.first
        entries[settlement.interception] = Entry(settlement: settlement, pause: pause, due: now + pause)
    }

    mutating func remove(_ id: InterceptionID) { entries[id] = nil }

    /// - Returns: whether there is something to try.
    mutating func markDue(at now: ContinuousClock.Instant) -> Bool { mark { $0.due <= now } }
    mutating func markAll() -> Bool { mark { _ in true } }

    private mutating func mark(_ isDue: (Entry) -> Bool) -> Bool {
        let due = entries.filter { !$0.value.isMarked && isDue($0.value) }.keys
        for id in due { entries[id]?.isMarked = true }
        return !due.isEmpty
    }

    /// The oldest first.
    var marked: [Settlement] { entries.values.filter(\.isMarked).sorted { $0.due < $1.due }.map(\.settlement) }
}

import Core
import Foundation

/// Lets calls through locked counters, one after the other. A pure value.
struct RatePlan: Sendable {
    struct Counter: Sendable, Equatable {
        var id: Int64
        /// The limit's name.
        var name: String
        var bounds: RateLimit.Bounds
        /// Calls under way.
        var open: Int64
        var requests: RateWindow
        var tokens: RateWindow
        var isChanged = false
    }

    enum Outcome: Sendable, Equatable {
        case admitted
        /// A minute's share is used up; it passes after so long, and never where the limit is 0.
        case limited(counter: Int64, what: String, limit: Int64, wait: Duration)
        /// So many calls are under way; one of them has to end first.
        case busy(counter: Int64, limit: Int64)
    }

    private(set) var counters: [Int64: Counter]
    /// Microseconds since 1970, by the database's clock.
    private let now: Int64

    init(_ counters: [Counter], now: Int64) {
        self.now = now
        let slot = RateWindow.slot(atMicroseconds: now)
        self.counters = Dictionary(
            uniqueKeysWithValues: counters.map { counter in
                var counter = counter
                counter.requests.advance(to: slot)
                counter.tokens.advance(to: slot)
                return (counter.id, counter)
            })
    }

    /// Takes nothing yet.
    func check(_ ids: [Int64], tokens: Int64) -> Outcome {
        var busy: Outcome?
        for counter in ids.compactMap({ counters[$0] }) {
            for (what, window, amount, limit) in [
                ("requests", counter.requests, 1, counter.bounds.requestsPerMinute),
                ("tokens", counter.tokens, tokens, counter.bounds.tokensPerMinute),
            ] {
                guard let limit else { continue }
                if limit == 0 { return .limited(counter: counter.id, what: what, limit: 0, wait: .zero) }
                let slots = window.slotsUntil(amount, fitsUnder: limit)
                if slots > 0 {
                    let end = (window.slot + Int64(slots)) * RateWindow.slotSeconds * 1_000_000
                    return .limited(counter: counter.id, what: what, limit: limit, wait: .microseconds(max(end - now, 1)))
                }
            }
            if let limit = counter.bounds.concurrency, counter.open >= limit, busy == nil {
                busy = .busy(counter: counter.id, limit: limit)
            }
        }
        // Waiting is of no use for a call whose minute is used up: that is told first.
        return busy ?? .admitted
    }

    /// Of a call that was admitted and has its money.
    mutating func take(_ ids: [Int64], tokens: Int64) {
        for id in ids {
            counters[id]?.open += 1
            counters[id]?.requests.add(1)
            counters[id]?.tokens.add(tokens)
            counters[id]?.isChanged = true
        }
    }

    /// To be written, by id.
    var changed: [Counter] { counters.values.filter(\.isChanged).sorted { $0.id < $1.id } }

    /// The slot in which all were counted that were taken.
    func slot(of id: Int64) -> Int64 { counters[id]?.tokens.slot ?? 0 }
}

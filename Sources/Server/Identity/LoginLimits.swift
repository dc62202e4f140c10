import Core

/// How often somebody may try to log in, by address, by account, and by both. A pure value; the clock is the caller's.
package struct LoginLimits: Sendable {
    /// Guessing many users' passwords from one address.
    private var address = AttemptLimiter(capacity: 20, refill: .seconds(3))
    /// Guessing one password from one address.
    private var pair = AttemptLimiter(capacity: 5, refill: .seconds(12))
    /// Guessing one password from many addresses.
    private var username = AttemptLimiter(capacity: 100, refill: .seconds(6))
    /// What is put on record about the above: one fact per lock in ten minutes, and not so many that the record drowns.
    private var report = AttemptLimiter(capacity: 1, refill: .seconds(600))
    private var reports = AttemptLimiter(capacity: 30, refill: .seconds(20))
    /// Pairs that have logged in before: whoever guesses from many addresses must not lock out who is at home.
    private var known: Set<String> = []

    private static let mostKnown = 10_000

    package init() {}

    package enum Verdict: Sendable, Equatable {
        case goOn
        case wait(Duration, isReported: Bool)
    }

    /// - Parameters:
    ///   - username: as it was typed, without capitals; empty for the set-up code.
    ///   - address: nil where it is not known.
    package mutating func attempt(username: String, address: String?, at now: ContinuousClock.Instant) -> Verdict {
        let (place, name) = Self.keys(username, address)
        let pairKey = "\(place) \(name)"
        // The address first: keys of the others are only made by those who may try at all.
        var wait = self.address.attempt(place, at: now) ?? pair.attempt(pairKey, at: now)
        if wait == nil, !known.contains(pairKey) { wait = self.username.attempt(name, at: now) }
        guard let wait else { return .goOn }
        let isReported = report.attempt(pairKey, at: now) == nil && reports.attempt("", at: now) == nil
        return .wait(wait, isReported: isReported)
    }

    /// Gives the attempt back: who knows the password is never slowed down.
    package mutating func succeeded(username: String, address: String?, at now: ContinuousClock.Instant) {
        let (place, name) = Self.keys(username, address)
        let pairKey = "\(place) \(name)"
        self.address.succeeded(place, at: now)
        pair.succeeded(pairKey, at: now)
        if !known.contains(pairKey) { self.username.succeeded(name, at: now) }
        if known.count >= Self.mostKnown { known.removeAll() }
        known.insert(pairKey)
    }

    /// Short, whatever was sent: no account has a longer name, and a key is kept for a while.
    private static func keys(_ username: String, _ address: String?) -> (place: String, name: String) {
        let place = address.map { AddressRange.neighbourhood(of: $0) ?? String($0.prefix(64)) } ?? "-"
        return (place, username.utf8.count <= 32 ? username : "(no name)")
    }
}

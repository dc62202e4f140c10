import Core

/// How often somebody may try to log in, by address, by account, and by both. A pure value that holds the buckets of one attempt or of
/// many; the clock is the caller's. `LoginLimitStore` keeps the buckets between attempts.
package struct LoginLimits: Sendable {
    /// What attempts are counted by.
    package enum Kind: String, Sendable, CaseIterable {
        /// Guessing many users' passwords from one address.
        case address
        /// Guessing one password from one address.
        case pair
        /// Guessing one password from many addresses.
        case username
        /// Pairs that have logged in before: whoever guesses from many addresses must not lock out who is at home.
        case known
        /// What is put on record about the above: one fact per lock in ten minutes ...
        case report
        /// ... and not so many that the record drowns.
        case reports

        package var limiter: AttemptLimiter {
            switch self {
            case .address: AttemptLimiter(capacity: 20, refill: .seconds(3))
            case .pair: AttemptLimiter(capacity: 5, refill: .seconds(12))
            case .username: AttemptLimiter(capacity: 100, refill: .seconds(6))
            // Its bucket is there or not; kept for 90 days after the last log-in.
            case .known: AttemptLimiter(capacity: 1, refill: .seconds(90 * 86400))
            case .report: AttemptLimiter(capacity: 1, refill: .seconds(600))
            case .reports: AttemptLimiter(capacity: 30, refill: .seconds(20))
            }
        }
    }

    package struct Key: Sendable, Hashable {
        package var kind: Kind
        package var name: String
    }

    package enum Verdict: Sendable, Equatable {
        case goOn
        case wait(Duration, isReported: Bool)
    }

    private(set) var buckets: [Key: AttemptLimiter.Bucket] = [:]
    /// Which of them are not as they were.
    private(set) var changed: Set<Key> = []

    package init(_ buckets: [Key: AttemptLimiter.Bucket] = [:]) { self.buckets = buckets }

    /// All that an attempt can look at.
    package static func keys(username: String, address: String?) -> [Key] {
        let (place, name) = names(username, address)
        return [
            Key(kind: .address, name: place), Key(kind: .pair, name: "\(place) \(name)"), Key(kind: .username, name: name),
            Key(kind: .known, name: "\(place) \(name)"), Key(kind: .report, name: "\(place) \(name)"),
            Key(kind: .reports, name: ""),
        ]
    }

    /// - Parameters:
    ///   - username: as it was typed, without capitals; empty for the set-up code.
    ///   - address: nil where it is not known.
    package mutating func attempt(username: String, address: String?, at now: ContinuousClock.Instant) -> Verdict {
        let (place, name) = Self.names(username, address)
        let pair = "\(place) \(name)"
        // The address first: keys of the others are only made by those who may try at all.
        var wait = take(.address, place, now) ?? take(.pair, pair, now)
        if wait == nil, buckets[Key(kind: .known, name: pair)] == nil { wait = take(.username, name, now) }
        guard let wait else { return .goOn }
        // A key for what is reported alone: who is refused makes no more of them than the record takes.
        let isNew = Kind.report.limiter.allows(buckets[Key(kind: .report, name: pair)], at: now)
        let isReported = isNew && take(.reports, "", now) == nil
        if isReported { _ = take(.report, pair, now) }
        return .wait(wait, isReported: isReported)
    }

    /// Gives the attempt back: who knows the password is never slowed down.
    package mutating func succeeded(username: String, address: String?, at now: ContinuousClock.Instant) {
        let (place, name) = Self.names(username, address)
        let pair = "\(place) \(name)"
        giveBack(.address, place, now)
        giveBack(.pair, pair, now)
        if buckets[Key(kind: .known, name: pair)] == nil { giveBack(.username, name, now) }
        giveBack(.known, pair, now)
    }

    private mutating func take(_ kind: Kind, _ name: String, _ now: ContinuousClock.Instant) -> Duration? {
        let key = Key(kind: kind, name: name)
        changed.insert(key)
        return kind.limiter.attempt(&buckets[key], at: now)
    }

    private mutating func giveBack(_ kind: Kind, _ name: String, _ now: ContinuousClock.Instant) {
        let key = Key(kind: kind, name: name)
        changed.insert(key)
        kind.limiter.succeeded(&buckets[key], at: now)
    }

    /// Short, whatever was sent: no account has a longer name, and a key is kept for a while.
    private static func names(_ username: String, _ address: String?) -> (place: String, name: String) {
        let place = address.map { AddressRange.neighbourhood(of: $0) ?? String($0.prefix(64)) } ?? "-"
        return (place, username.utf8.count <= 32 ? username : "(no name)")
    }
}

/// Slows down who guesses: per key a bucket of attempts that refills over time. A pure value; the clock is the caller's.
package struct AttemptLimiter: Sendable {
    private struct Bucket {
        var tokens: Double
        var at: ContinuousClock.Instant
    }

    private let capacity: Double
    private let refill: Duration
    private let maxKeys: Int
    private var buckets: [String: Bucket] = [:]

    /// `capacity` attempts at once, then one per `refill`. Keeps at most `maxKeys` keys.
    package init(capacity: Int, refill: Duration, maxKeys: Int = 50_000) {
        self.capacity = Double(capacity)
        self.refill = refill
        self.maxKeys = maxKeys
    }

    /// Nil when the attempt may go on; else how long to wait.
    package mutating func attempt(_ key: String, at now: ContinuousClock.Instant) -> Duration? {
        if buckets.count >= maxKeys { forgetFull(at: now) }
        var bucket = current(key, at: now)
        guard bucket.tokens >= 1 else {
            buckets[key] = bucket
            return refill * (1 - bucket.tokens)
        }
        bucket.tokens -= 1
        buckets[key] = bucket
        return nil
    }

    /// A success gives the attempt back: who knows the password is never slowed down.
    package mutating func succeeded(_ key: String, at now: ContinuousClock.Instant) {
        var bucket = current(key, at: now)
        bucket.tokens = min(capacity, bucket.tokens + 1)
        buckets[key] = bucket
    }

    private func current(_ key: String, at now: ContinuousClock.Instant) -> Bucket {
        guard var bucket = buckets[key] else { return Bucket(tokens: capacity, at: now) }
        bucket.tokens = min(capacity, bucket.tokens + bucket.at.duration(to: now) / refill)
        bucket.at = now
        return bucket
    }

    private mutating func forgetFull(at now: ContinuousClock.Instant) {
        for key in buckets.keys where current(key, at: now).tokens >= capacity { buckets[key] = nil }
        // Under a flood of keys the newest attempts matter less than the memory.
        if buckets.count >= maxKeys { buckets.removeAll() }
    }
}

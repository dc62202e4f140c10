/// Slows down who guesses: per key a bucket of attempts that refills over time. A pure value; the clock is the caller's, and so is
/// where buckets are kept in between.
package struct AttemptLimiter: Sendable {
    /// How full a bucket is, and since when.
    package struct Bucket: Sendable, Equatable {
        package var tokens: Double
        package var at: ContinuousClock.Instant

        package init(tokens: Double, at: ContinuousClock.Instant) {
            self.tokens = tokens
            self.at = at
        }
    }

    private let capacity: Double
    private let refill: Duration

    /// `capacity` attempts at once, then one per `refill`.
    package init(capacity: Int, refill: Duration) {
        self.capacity = Double(capacity)
        self.refill = refill
    }

    /// After so long a bucket is full, whatever happened: it can be forgotten.
    package var memory: Duration { refill * capacity }

    /// Nil when the attempt may go on; else how long to wait.
    ///
    /// - Parameter bucket: nil is a full one.
    package func attempt(_ bucket: inout Bucket?, at now: ContinuousClock.Instant) -> Duration? {
        var refilled = current(bucket, at: now)
        defer { bucket = refilled }
        guard refilled.tokens >= 1 else { return refill * (1 - refilled.tokens) }
        refilled.tokens -= 1
        return nil
    }

    /// Whether an attempt may go on, without making it.
    package func allows(_ bucket: Bucket?, at now: ContinuousClock.Instant) -> Bool { current(bucket, at: now).tokens >= 1 }

    /// A success gives the attempt back: who knows the password is never slowed down.
    package func succeeded(_ bucket: inout Bucket?, at now: ContinuousClock.Instant) {
        var refilled = current(bucket, at: now)
        refilled.tokens = min(capacity, refilled.tokens + 1)
        bucket = refilled
    }

    private func current(_ bucket: Bucket?, at now: ContinuousClock.Instant) -> Bucket {
        guard let bucket else { return Bucket(tokens: capacity, at: now) }
        return Bucket(tokens: min(capacity, bucket.tokens + max(.zero, bucket.at.duration(to: now)) / refill), at: now)
    }
}

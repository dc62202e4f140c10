import Core

/// Whether this server is in touch with the database well enough to say that another one is not. A pure rule.
///
/// After a stall of the database every heartbeat is old, also those of servers that are well. So one who judges must have had its own
/// answers for a while, and a server counts as dead only when looks over two seconds found it silent: whoever lives has been heard between
/// them, whatever kept the database before the first.
package struct DatabaseContact: Sendable {
    package struct Bounds: Sendable {
        /// How long contact must have lasted.
        package var needed: Duration
        /// Two answers further apart do not hang together.
        package var gap: Duration
        /// How long another one must have been found silent, by all looks.
        package var silence: Duration

        package init(needed: Duration = .seconds(8), gap: Duration = .seconds(4), silence: Duration = .seconds(2)) {
            self.needed = needed
            self.gap = gap
            self.silence = silence
        }
    }

    private let bounds: Bounds
    private var since: ContinuousClock.Instant?
    private var last: ContinuousClock.Instant?
    /// Found silent by the last look, and since when by all before it.
    private var silent: [ReplicaID: ContinuousClock.Instant] = [:]

    init(_ bounds: Bounds) { self.bounds = bounds }

    /// An answer came, at this time: these servers are silent by the database's clock.
    ///
    /// - Returns: those of them that are dead.
    mutating func looked(at now: ContinuousClock.Instant, silent found: Set<ReplicaID>) -> Set<ReplicaID> {
        let hangsTogether = last.map { $0.duration(to: now) <= bounds.gap } ?? false
        let before = hangsTogether ? silent : [:]
        if !hangsTogether { since = now }
        last = now
        silent = Dictionary(uniqueKeysWithValues: found.map { ($0, before[$0] ?? now) })
        guard let since, since.duration(to: now) >= bounds.needed else { return [] }
        return Set(silent.filter { $0.value.duration(to: now) >= bounds.silence }.keys)
    }

    /// No answer came.
    mutating func lost() {
        since = nil
        last = nil
        silent = [:]
    }
}

import Core
import ModelAPI

/// Notices when a session stops hitting its prompt cache. A pure rule: no I/O, no clock.
///
/// A call follows the one of its session and model with the most messages among those that have no more than itself: so calls of
/// sub-agents, which begin with few messages, are not taken for a conversation that lost its cache. A cache has collapsed when
/// - the call before read at least half of its input from the cache, and at least 1,024 tokens (less is not cached anywhere);
/// - this call read less than a quarter of that, though its whole input is no shorter than that;
/// - it began within five minutes of the end of the one before: caches live that long, later an expiry would explain it.
struct CacheWatch: Sendable {
    struct Thresholds: Sendable {
        var leastRate = 0.5
        var leastTokens = 1024
        /// Of what was read before.
        var remaining = 0.25
        var lifetime = Duration.seconds(300)
        /// Older sessions are forgotten first.
        var mostSessions = 10_000
        var linesPerSession = 8
    }

    struct Key: Hashable, Sendable {
        var organization: OrganizationID
        /// A session's name is the client's to choose: two people may choose the same.
        var user: UserID
        var session: String
        var provider: String
        var model: String
    }

    struct Call: Sendable {
        var id: InterceptionID
        var messages: Int
        var cached: TokenCount
        var input: TokenCount
        var began: ContinuousClock.Instant
        var ended: ContinuousClock.Instant

        var rate: Double { input > 0 ? Double(cached) / Double(input) : 0 }
    }

    struct Collapse: Sendable {
        var before: Call
        var now: Call
    }

    private let thresholds: Thresholds
    private var sessions: [Key: [Call]] = [:]
    private var order: [Key] = []

    init(_ thresholds: Thresholds = Thresholds()) { self.thresholds = thresholds }

    mutating func ended(_ call: Call, of key: Key) -> Collapse? {
        guard call.input > 0 else { return nil }
        guard let place = sessions.index(forKey: key) else {
            remember(key)
            sessions[key] = [call]
            return nil
        }
        return ended(call, after: &sessions.values[place])
    }

    private func ended(_ call: Call, after lines: inout [Call]) -> Collapse? {
        let followed = lines.indices.filter { lines[$0].messages <= call.messages }.max { lines[$0].messages < lines[$1].messages }
        var collapse: Collapse?
        if let followed {
            let before = lines.remove(at: followed)
            if hasCollapsed(before, call) { collapse = Collapse(before: before, now: call) }
        }
        lines.append(call)
        if lines.count > thresholds.linesPerSession { lines.removeFirst() }
        return collapse
    }

    func hasCollapsed(_ before: Call, _ now: Call) -> Bool {
        before.cached >= thresholds.leastTokens && before.rate >= thresholds.leastRate && now.input >= before.cached
            && Double(now.cached) < Double(before.cached) * thresholds.remaining
            && before.ended.duration(to: now.began) <= thresholds.lifetime
    }

    private mutating func remember(_ key: Key) {
        order.append(key)
        guard order.count > thresholds.mostSessions else { return }
        // Half at once, so that it costs nothing per call.
        for old in order.prefix(order.count / 2) { sessions[old] = nil }
        order.removeFirst(order.count / 2)
    }
}

import Core
import ModelAPI

/// One try: a target with one of its keys.
struct Attempt: Sendable {
    var target: Target
    var key: Provider.Key
    /// Over a connection that was not used before.
    var isOnFreshConnection = false
}

/// Which attempt comes next. Targets whose circuit is open are passed over, those all of whose keys rest come last.
struct AttemptQueue {
    /// More are never made for one call.
    static let most = 6

    private let health: TargetHealth
    private var targets: ArraySlice<Target>
    private var current: Target?
    private var key: Provider.Key?
    private var keys: ArraySlice<Provider.Key> = []
    private(set) var made = 0
    /// How long the circuit that opens next stays open, if one was met.
    private(set) var shortestWait: Duration?

    init(_ plan: RoutePlan, _ health: TargetHealth) {
        self.health = health
        targets = health.ordered(plan.targets, at: .now)[...]
    }

    /// Whether something is left after the attempt under way.
    var hasMore: Bool { made < Self.most && (!keys.isEmpty || !targets.isEmpty) }

    mutating func first() -> Attempt? { next(after: .otherTarget) }

    /// One more beside the attempt under way: at the next target whose circuit is closed, or where there is none, at the same one.
    mutating func beside() -> Attempt? {
        guard made < Self.most, let current, let key else { return nil }
        let now = ContinuousClock.now
        // Others stay where they are; a circuit's one trial is not for a call that may be ended.
        for place in targets.indices where health.isClosed(targets[place]) {
            var others = health.keys(of: targets[place].provider, at: now)[...]
            guard let other = others.popFirst() else { continue }
            let target = targets.remove(at: place)
            (self.current, self.key, keys) = (target, other, others)
            made += 1
            return Attempt(target: target, key: other)
        }
        made += 1
        return Attempt(target: current, key: key)
    }

    /// Nil: nothing is left, or the provider's calls have used up their retries.
    mutating func next(after verdict: AttemptVerdict) -> Attempt? {
        guard made < Self.most else { return nil }
        // Nothing was done yet, and a fresh connection cannot fail so again: no retry that would have to be rationed.
        if case .sameAgain = verdict, let current, let key {
            made += 1
            return Attempt(target: current, key: key, isOnFreshConnection: true)
        }
        if made > 0, let current, !health.mayRetry(current.provider) { return nil }
        if case .otherKey = verdict, let current, let key = keys.popFirst() {
            made += 1
            self.key = key
            return Attempt(target: current, key: key)
        }
        let now = ContinuousClock.now
        while let target = targets.popFirst() {
            if let wait = health.refuses(target, at: now) {
                shortestWait = min(shortestWait ?? wait, wait)
                continue
            }
            current = target
            keys = health.keys(of: target.provider, at: now)[...]
            guard let key = keys.popFirst() else { continue }
            made += 1
            self.key = key
            if made == 1 { health.called(target.provider) }
            return Attempt(target: target, key: key)
        }
        return nil
    }
}

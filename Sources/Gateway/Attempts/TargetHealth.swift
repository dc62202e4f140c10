import Core
import NIOConcurrencyHelpers

/// How targets and keys fare: which keys rest, which circuits are open. Keys that rest are known to all replicas (`KeyRests`); circuits
/// are each replica's own, since a network may be broken for one of them alone.
final class TargetHealth: Sendable {
    struct KeyName: Sendable, Hashable {
        var organization: OrganizationID
        var provider: String
        var hint: String
    }

    private struct State: Sendable {
        var rests: [KeyName: ContinuousClock.Instant] = [:]
        var news: [KeyName: Duration] = [:]
        var circuits: [String: CircuitBreaker] = [:]
        var budgets: [String: RetryBudget] = [:]
    }

    private let state = NIOLockedValueBox(State())

    /// The keys in the order in which they are to be tried: those that rest last, the one that rests longest at the very end. With
    /// one key there is nothing to choose, so it is tried even when it rests: the provider's own words are better than ours.
    func keys(of provider: Provider, at now: ContinuousClock.Instant) -> [Provider.Key] {
        if provider.keys.count < 2 { return provider.usableKeys }
        return state.withLockedValue { state in
            let rests = provider.keys.map { state.rests[name($0, provider)].flatMap { $0 > now ? $0 : nil } }
            let order = provider.keys.indices.sorted { left, right in
                switch (rests[left], rests[right]) {
                case (nil, nil): left < right
                case (nil, _): true
                case (_, nil): false
                case (let a?, let b?): a < b
                }
            }
            return order.map { provider.keys[$0] }
        }
    }

    /// Whether every key of it rests.
    func rests(_ provider: Provider, at now: ContinuousClock.Instant) -> Bool {
        state.withLockedValue { state in
            !state.rests.isEmpty && !provider.keys.isEmpty
                && provider.keys.allSatisfy { (state.rests[name($0, provider)] ?? now) > now }
        }
    }

    func rest(_ key: Provider.Key, of provider: Provider, for time: Duration, at now: ContinuousClock.Instant) {
        state.withLockedValue { state in
            let name = name(key, provider)
            state.rests[name] = max(state.rests[name] ?? now, now + time)
            state.news[name] = time
        }
    }

    /// What other replicas have to be told; it is then forgotten here.
    func takeNews() -> [KeyName: Duration] {
        state.withLockedValue { state in
            defer { state.news = [:] }
            return state.news
        }
    }

    /// The others could not be told yet.
    func keep(_ name: KeyName, _ time: Duration) { state.withLockedValue { $0.news[name] = $0.news[name] ?? time } }

    /// What all replicas know, in place of what was known before.
    func learn(_ rests: [KeyName: Duration], at now: ContinuousClock.Instant) {
        state.withLockedValue { state in
            var merged = rests.mapValues { now + $0 }
            for (name, time) in state.news { merged[name] = max(merged[name] ?? now, now + time) }
            state.rests = merged
        }
    }

    /// Nil: the target may be called. Else how long its circuit stays open.
    func refuses(_ target: Target, at now: ContinuousClock.Instant) -> Duration? {
        state.withLockedValue { $0.circuits.isEmpty ? nil : $0.circuits[circuit(target)]?.refuses(at: now) }
    }

    /// In the order in which they are tried: those all of whose keys rest come behind the others, those whose circuit is open last.
    func ordered(_ targets: [Target], at now: ContinuousClock.Instant) -> [Target] {
        guard targets.count > 1, state.withLockedValue({ !$0.rests.isEmpty || !$0.circuits.isEmpty }) else { return targets }
        let ranks = targets.map { target in
            isOpen(target, at: now) ? 2 : rests(target.provider, at: now) ? 1 : 0
        }
        return (0...2).flatMap { rank in zip(targets, ranks).filter { $1 == rank }.map(\.0) }
    }

    /// Whether it would be passed over now. Nothing is tried by asking.
    private func isOpen(_ target: Target, at now: ContinuousClock.Instant) -> Bool {
        state.withLockedValue { state in
            guard !state.circuits.isEmpty, var breaker = state.circuits[circuit(target)] else { return false }
            return breaker.refuses(at: now) != nil
        }
    }

    /// Whether nothing keeps calls away from it, also none that only tries it.
    func isClosed(_ target: Target) -> Bool {
        state.withLockedValue { $0.circuits.isEmpty || $0.circuits[circuit(target)]?.isClosed ?? true }
    }

    func succeeded(_ target: Target) {
        state.withLockedValue { state in
            if !state.circuits.isEmpty { state.circuits[circuit(target)] = nil }
        }
    }

    func failed(_ target: Target, at now: ContinuousClock.Instant) {
        state.withLockedValue { state in
            // Bounded: names of models come from routes and from clients whose model has a price.
            if state.circuits.count > 10_000 { state.circuits = [:] }
            state.circuits[circuit(target), default: CircuitBreaker()].failed(at: now)
        }
    }

    func called(_ provider: Provider) { state.withLockedValue { $0.budgets[budget(provider), default: RetryBudget()].called() } }

    /// Whether a call that failed there may be tried again.
    func mayRetry(_ provider: Provider) -> Bool {
        state.withLockedValue { $0.budgets[budget(provider), default: RetryBudget()].take() }
    }

    private func name(_ key: Provider.Key, _ provider: Provider) -> KeyName {
        KeyName(organization: provider.organization, provider: provider.name, hint: key.hint)
    }

    private func circuit(_ target: Target) -> String { "\(target.provider.organization)/\(target.provider.baseURL)/\(target.name)" }
    private func budget(_ provider: Provider) -> String { "\(provider.organization)/\(provider.name)" }
}

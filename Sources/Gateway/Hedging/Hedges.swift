import Core
import NIOConcurrencyHelpers

/// The newest of how long something took. A pure rule.
struct RecentTimes: Sendable, Equatable {
    static let most = 200

    /// Microseconds, in a circle.
    private var times: [UInt32] = []
    private var next = 0

    var count: Int { times.count }

    mutating func add(_ time: Duration) {
        let value = UInt32(clamping: Int64((time / .microseconds(1)).rounded()))
        if times.count < Self.most {
            times.append(value)
        } else {
            times[next] = value
            next = (next + 1) % Self.most
        }
    }

    /// By nearest rank; nil: there are none.
    func quantile(_ percent: Int) -> Duration? {
        if times.isEmpty { return nil }
        let rank = (times.count * percent + 99) / 100
        return .microseconds(Int64(times.sorted()[max(1, rank) - 1]))
    }
}

/// How many calls of a route may be sent twice. Each call earns its share of a hedge, so that never more than that share of all calls
/// so far was hedged; ten can be saved up. A pure rule.
struct HedgeShare: Sendable, Equatable {
    static let most = 10
    /// In hundredths of a hedge.
    private var saved = 0

    mutating func called(_ percent: Int) { saved = min(saved + percent, Self.most * 100) }

    /// Takes one, if there is one.
    mutating func take() -> Bool {
        guard saved >= 100 else { return false }
        saved -= 100
        return true
    }
}

/// What this process remembers for its routes with hedges: how soon their targets answered, and how many calls may be sent twice.
final class Hedges: Sendable {
    private struct State: Sendable {
        var times: [String: RecentTimes] = [:]
        var shares: [String: HedgeShare] = [:]
    }

    private let state = NIOLockedValueBox(State())

    /// A call of the route begins there.
    ///
    /// - Returns: after which time without an answer it is sent again; nil: never.
    func begin(_ hedging: Hedging, _ target: Target, isStream: Bool) -> Duration? {
        let name = name(target, isStream)
        let recent = state.withLockedValue { state in
            state.shares[hedging.name, default: HedgeShare()].called(hedging.rule.share)
            return state.times[name]
        }
        return hedging.rule.delay(recent)
    }

    /// The head of an answer came after that time, or had not come by then.
    func took(_ target: Target, isStream: Bool, _ time: Duration) {
        let name = name(target, isStream)
        state.withLockedValue { state in
            // Bounded: names of models come from routes, and from clients whose model has a price.
            if state.times.count > 10_000 { state.times = [:] }
            state.times[name, default: RecentTimes()].add(time)
        }
    }

    /// Whether one more call of the route may be sent twice; it is then counted.
    func take(_ hedging: Hedging) -> Bool {
        state.withLockedValue { $0.shares[hedging.name, default: HedgeShare()].take() }
    }

    /// Streams begin when the model does, other answers come when it has ended.
    private func name(_ target: Target, _ isStream: Bool) -> String {
        "\(target.provider.organization)/\(target.name)\(isStream ? " stream" : "")"
    }
}

import Core

/// When a call of a route that has got no answer yet is sent a second time, elsewhere. A pure rule.
package struct HedgeRule: Sendable, Equatable {
    package enum After: Sendable, Equatable {
        /// Of the target's recent times to the head of its answer, in percent: 50 to 99.
        case quantile(Int)
        /// 10 ms to 10 minutes.
        case fixed(Duration)
    }

    package var after: After
    /// The least time with a quantile: 0 to 10 minutes.
    package var floor: Duration
    /// How many recent times there have to be: 1 to 200. With fewer no call is hedged.
    package var samples: Int
    /// How many of the route's calls may be sent twice, in percent: 1 to 100.
    package var share: Int

    package static let usualFloor = Duration.milliseconds(200)
    package static let usualSamples = 30
    package static let usualShare = 10

    /// - Parameters:
    ///   - after: `p95`, `800ms` or `2s`.
    ///   - floorMilliseconds: nil: 200.
    ///   - samples: nil: 30.
    ///   - sharePercent: nil: 10.
    /// - Throws: `badRequest` that names the field.
    package init(after: String, floorMilliseconds: Int? = nil, samples: Int? = nil, sharePercent: Int? = nil) throws {
        self.after = try After(after)
        let floor = floorMilliseconds ?? Int(Self.usualFloor / .milliseconds(1))
        self.floor = .milliseconds(floor)
        self.samples = samples ?? Self.usualSamples
        share = sharePercent ?? Self.usualShare
        for (name, value, range) in [
            ("floor_milliseconds", floor, 0...600_000), ("samples", self.samples, 1...RecentTimes.most),
            ("share_percent", share, 1...100),
        ] where !range.contains(value) {
            throw AppError(
                .badRequest, "A hedge's \(name) is \(range.lowerBound) to \(range.upperBound), not \(value).",
                field: "hedge.\(name)")
        }
    }

    /// How long a call waits for the head of its first answer; nil: it is sent once.
    func delay(_ recent: RecentTimes?) -> Duration? {
        switch after {
        case .fixed(let time): return time
        case .quantile(let percent):
            guard let recent, recent.count >= samples, let time = recent.quantile(percent) else { return nil }
            return max(time, floor)
        }
    }
}

extension HedgeRule.After {
    /// - Throws: `badRequest`.
    init(_ text: String) throws {
        if text.hasPrefix("p"), let percent = Int(text.dropFirst()), (50...99).contains(percent) {
            self = .quantile(percent)
        } else if text.hasSuffix("ms"), let number = Int(text.dropLast(2)), (10...600_000).contains(number) {
            self = .fixed(.milliseconds(number))
        } else if text.hasSuffix("s"), let number = Int(text.dropLast()), (1...600).contains(number) {
            self = .fixed(.seconds(number))
        } else {
            throw AppError(
                .badRequest,
                "A hedge is sent after a quantile of the recent times, p50 to p99, or after a time, 10ms to 600s; '\(text.prefix(32))' is neither.",
                field: "hedge.after")
        }
    }

    package var text: String {
        switch self {
        case .quantile(let percent): "p\(percent)"
        case .fixed(let time): "\(Int64(time / .milliseconds(1)))ms"
        }
    }
}

/// The rule that holds for a call, and the route that it is of.
struct Hedging: Sendable {
    var rule: HedgeRule
    var organization: OrganizationID
    var route: String

    var name: String { "\(organization)/\(route)" }
}

extension ModelRoute {
    var hedging: Hedging? { hedge.map { Hedging(rule: $0, organization: organization, route: name) } }
}

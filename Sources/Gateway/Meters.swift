import Core
import ModelAPI

/// The gateway's metrics.
struct Meters: Sendable {
    private let calls: Counter
    private let tokens: Counter
    private let cost: Counter
    private let overrun: Counter
    private let duration: Histogram
    private let refused: Counter
    private let retries: Counter
    private let replays: Counter
    private let hedges: Counter
    private let holdSeconds: Histogram
    private let firstByte: Histogram
    private let conventional: GenAIMeters

    init(_ metrics: Metrics, namesUsers: Bool) {
        conventional = GenAIMeters(metrics, namesUsers: namesUsers)
        calls = metrics.counter(
            "slipway_gateway_interceptions_total", "Model calls that were sent and have ended.",
            labels: ["provider", "model", "status", "booking"])
        tokens = metrics.counter("slipway_gateway_tokens_total", "Tokens as booked.", labels: ["provider", "model", "type"])
        cost = metrics.counter("slipway_gateway_cost_dollars_total", "Cost as booked.", labels: ["provider", "model"])
        overrun = metrics.counter(
            "slipway_gateway_overruns_total", "Calls that cost more than was held.", labels: ["provider", "model"])
        duration = metrics.histogram(
            "slipway_gateway_interceptions_duration_seconds", "From a call's admission to its end.", labels: ["provider", "model"],
            buckets: [0.5, 2, 5, 15, 30, 60, 120])
        refused = metrics.counter(
            "slipway_gateway_refused_total", "Calls that the gateway itself refused.", labels: ["provider", "code"])
        retries = metrics.counter(
            "slipway_gateway_retries_total", "Attempts of calls after their first.", labels: ["provider"])
        replays = metrics.counter(
            "slipway_gateway_replays_total", "Repeats under an Idempotency-Key that got the answer of their first call.",
            labels: ["provider"])
        hedges = metrics.counter(
            "slipway_gateway_hedges_total", "Calls whose first attempt was silent for so long that a second one was due.",
            labels: ["provider", "outcome"])
        holdSeconds = metrics.histogram(
            "slipway_gateway_hold_seconds", "Time to take a hold and record the call.",
            buckets: [0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1, 5])
        firstByte = metrics.histogram(
            "slipway_gateway_first_byte_seconds", "From a call's admission to the first byte of its answer.",
            labels: ["provider", "model"],
            buckets: [0.02, 0.1, 0.5, 1, 2, 5, 15, 60])
    }

    func held(in duration: Duration) { holdSeconds.record(duration) }

    func retried(_ target: Target) { retries.add(1, [target.provider.name]) }

    enum HedgeOutcome: String, Sendable {
        /// The second attempt's answer was handed out; the first one's.
        case won, lost
        /// It was not sent: a budget or a limit does not allow it; enough of the route's calls were sent twice.
        case unaffordable, capped
    }

    /// - Parameter target: the first attempt's.
    func hedged(_ target: Target, _ outcome: HedgeOutcome) { hedges.add(1, [target.provider.name, outcome.rawValue]) }

    func replayed(_ target: Target) { replays.add(1, [target.provider.name]) }

    func refused(provider: String, _ error: AppError) { refused.add(1, [provider, error.code.rawValue]) }

    func answered(_ facts: CallRecord.Facts, _ target: Target) {
        firstByte.record(facts.began.duration(to: .now), [target.provider.name, target.price.model])
    }

    /// - Parameter firstChunk: since the admission; nil: no stream, or nothing of it came.
    func ended(
        _ facts: CallRecord.Facts, _ target: Target, _ settlement: Settlement, _ usage: Usage, firstChunk: Duration?
    ) {
        // The price's name of the model, not the client's: only priced models become series.
        let labels = [target.provider.name, target.price.model]
        calls.add(1, labels + [settlement.ending.status.rawValue, settlement.state.rawValue])
        for (type, count) in [
            ("input", usage.input), ("cache_read", usage.cacheRead), ("cache_write", usage.cacheWrite5m + usage.cacheWrite1h),
            ("output", usage.output),
        ] where count > 0 { tokens.add(Double(count), labels + [type]) }
        cost.add(Double(settlement.cost.value) / 1e9, labels)
        if settlement.cost > settlement.hold { overrun.add(1, labels) }
        duration.record(facts.began.duration(to: .now), labels)
        conventional.ended(facts, target, settlement, usage, firstChunk: firstChunk)
    }
}

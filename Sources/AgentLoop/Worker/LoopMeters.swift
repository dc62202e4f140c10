import Core

/// Where the time of tasks goes. What is in none of the parts is the loop's own work and waiting for its turn.
package struct LoopMeters: Sendable {
    package enum Part: String, Sendable, CaseIterable {
        /// From asking the gateway to the booked answer.
        case model
        case tools
        /// Commits of the loop itself.
        case records
    }

    private let steps: Counter
    private let seconds: Counter

    package init(_ metrics: Metrics) {
        steps = metrics.counter("slipway_loop_steps_total", "Steps of tasks that were begun.")
        seconds = metrics.counter(
            "slipway_loop_seconds_total", "Time that steps took, by part: model, tools, records.", labels: ["part"])
    }

    func begun() { steps.add(1) }

    func measure<Value>(_ part: Part, _ body: () async throws -> Value) async rethrows -> Value {
        let begin = ContinuousClock.now
        defer { seconds.add(begin.duration(to: .now) / .seconds(1), [part.rawValue]) }
        return try await body()
    }
}

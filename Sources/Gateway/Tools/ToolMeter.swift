import Core

/// The metrics of tools. Names of servers and tools are no labels: admins and servers choose them.
struct ToolMeter: Sendable {
    private let calls: Counter

    init(_ metrics: Metrics) {
        calls = metrics.counter("slipway_mcp_calls_total", "Calls of tools that have ended.", labels: ["status"])
    }

    func ended(_ status: ToolResultRecord.Status) { calls.add(1, [status.rawValue]) }
}

import Foundation
import NIOConcurrencyHelpers

/// Counters and gauges in Prometheus' text format.
///
/// Series are few and named here or by their owners; labels never hold what users choose.
package final class Metrics: Sendable {
    package final class Gauge: Sendable {
        private let value = NIOLockedValueBox(0)
        package func add(_ delta: Int) { value.withLockedValue { $0 += delta } }
        package var current: Int { value.withLockedValue { $0 } }
    }

    private struct Series: Hashable {
        var method: String
        var route: String
        var status: Int
    }

    private struct Histogram {
        static let bounds = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60]
        var counts = [Int](repeating: 0, count: bounds.count)
        var count = 0
        var sum = 0.0

        mutating func observe(_ seconds: Double) {
            count += 1
            sum += seconds
            for (index, bound) in Self.bounds.enumerated() where seconds <= bound { counts[index] += 1 }
        }
    }

    private struct State {
        var requests: [Series: Int] = [:]
        var durations: [String: Histogram] = [:]
        var sources: [@Sendable () -> String] = []
    }

    package let requestsInFlight = Gauge()
    private let state = NIOLockedValueBox(State())
    private let startedAt = Date()

    package init() {}

    package func observe(method: String, route: String, status: Int, _ duration: Duration) {
        state.withLockedValue { state in
            state.requests[Series(method: method, route: route, status: status), default: 0] += 1
            state.durations[route, default: Histogram()].observe(duration.inSeconds)
        }
    }

    /// Adds the text of another part's metrics, asked for at each scrape.
    package func add(_ source: @escaping @Sendable () -> String) { state.withLockedValue { $0.sources.append(source) } }

    package func text() -> String {
        let (requests, durations, sources) = state.withLockedValue { ($0.requests, $0.durations, $0.sources) }
        var lines = [
            "# TYPE slipway_http_requests_in_flight gauge", "slipway_http_requests_in_flight \(requestsInFlight.current)",
            "# TYPE slipway_http_requests_total counter",
        ]
        for (series, count) in requests.sorted(by: {
            ($0.key.route, $0.key.method, $0.key.status) < ($1.key.route, $1.key.method, $1.key.status)
        }) {
            let labels =
                "method=\"\(Self.escape(series.method))\",route=\"\(Self.escape(series.route))\",status=\"\(series.status)\""
            lines.append("slipway_http_requests_total{\(labels)} \(count)")
        }
        lines.append("# TYPE slipway_http_request_duration_seconds histogram")
        for (route, histogram) in durations.sorted(by: { $0.key < $1.key }) {
            let label = "route=\"\(Self.escape(route))\""
            for (bound, count) in zip(Histogram.bounds, histogram.counts) {
                lines.append("slipway_http_request_duration_seconds_bucket{\(label),le=\"\(bound)\"} \(count)")
            }
            lines.append("slipway_http_request_duration_seconds_bucket{\(label),le=\"+Inf\"} \(histogram.count)")
            lines.append("slipway_http_request_duration_seconds_sum{\(label)} \(histogram.sum)")
            lines.append("slipway_http_request_duration_seconds_count{\(label)} \(histogram.count)")
        }
        lines.append("# TYPE process_start_time_seconds gauge")
        lines.append("process_start_time_seconds \(Int(startedAt.timeIntervalSince1970))")
        return lines.joined(separator: "\n") + "\n" + sources.map { $0() }.joined()
    }

    private static func escape(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}

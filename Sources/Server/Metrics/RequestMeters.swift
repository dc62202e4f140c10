import Core

/// What is counted of each HTTP request. A route is its pattern, so the number of series stays small.
package struct RequestMeters: Sendable {
    package let inFlight: Counter
    private let requests: Counter
    private let durations: Histogram

    package init(_ metrics: Metrics) {
        inFlight = metrics.gauge("slipway_http_requests_in_flight", "Requests being answered.")
        requests = metrics.counter("slipway_http_requests_total", "Requests answered.", labels: ["method", "route", "status"])
        durations = metrics.histogram(
            "slipway_http_request_duration_seconds", "From a request's head to its answer's head.", labels: ["route"],
            buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60])
    }

    func answered(method: String, route: String, status: Int, in duration: Duration) {
        // Methods are the client's choice; only known ones become series.
        let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
        requests.add(1, [known.contains(method) ? method : "other", route, String(status)])
        durations.record(duration, [route])
    }
}

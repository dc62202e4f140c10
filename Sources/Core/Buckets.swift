/// How often a value fell below each of a few bounds: one series of a histogram, for who keeps it behind a lock.
package struct Buckets: Sendable {
    private let bounds: [Double]
    private var counts: [UInt64]
    private var sum = 0.0
    package private(set) var count: UInt64 = 0

    /// - Parameter bounds: upper ones, ascending; the last, infinite one is added.
    package init(_ bounds: [Double]) {
        self.bounds = bounds
        counts = Array(repeating: 0, count: bounds.count)
    }

    package mutating func record(_ value: Double) {
        if let place = bounds.firstIndex(where: { value <= $0 }) { counts[place] += 1 }
        sum += value
        count += 1
    }

    /// The lines of Prometheus's text format.
    package func text(_ name: String, _ labels: [(String, String)]) -> String {
        var text = ""
        var below: UInt64 = 0
        for (bound, count) in zip(bounds, counts) {
            below += count
            text += "\(name)_bucket\(PrometheusText.labels(labels + [("le", PrometheusText.number(bound))])) \(below)\n"
        }
        text += "\(name)_bucket\(PrometheusText.labels(labels + [("le", "+Inf")])) \(count)\n"
        text += "\(name)_sum\(PrometheusText.labels(labels)) \(PrometheusText.number(sum))\n"
        return text + "\(name)_count\(PrometheusText.labels(labels)) \(count)\n"
    }
}

/// Pieces of Prometheus's text format.
package enum PrometheusText {
    package static func head(_ name: String, _ help: String, kind: String = "histogram") -> String {
        "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
    }

    package static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }

    package static func labels(_ labels: [(String, String)]) -> String {
        if labels.isEmpty { return "" }
        let pairs = labels.map { name, value in
            let escaped = value.map { $0 == "\\" ? "\\\\" : $0 == "\"" ? "\\\"" : $0 == "\n" ? "\\n" : String($0) }.joined()
            return "\(name)=\"\(escaped)\""
        }
        return "{" + pairs.joined(separator: ",") + "}"
    }
}

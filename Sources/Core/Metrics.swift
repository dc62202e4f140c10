import NIOConcurrencyHelpers

/// Counters, gauges and histograms, shown in the text format of Prometheus. Names begin with `slipway_`; labels never hold a user,
/// a token or a session, so that the number of series stays small.
package final class Metrics: Sendable {
    private let families = NIOLockedValueBox<[String: any MetricFamily]>([:])

    package init() {}

    /// The counter of this name; the same one for each call.
    package func counter(_ name: String, _ help: String, labels: [String] = []) -> Counter {
        family(name) { Counter(name: name, help: help, labels: labels, kind: "counter") }
    }

    package func gauge(_ name: String, _ help: String, labels: [String] = []) -> Counter {
        family(name) { Counter(name: name, help: help, labels: labels, kind: "gauge") }
    }

    /// - Parameter buckets: upper bounds, ascending; the last, infinite one is added.
    package func histogram(_ name: String, _ help: String, labels: [String] = [], buckets: [Double]) -> Histogram {
        family(name) { Histogram(name: name, help: help, labels: labels, buckets: buckets) }
    }

    /// A gauge that is read when the metrics are.
    package func observe(_ name: String, _ help: String, _ read: @escaping @Sendable () -> Double) {
        _ = family(name) { Observed(name: name, help: help, read: read) }
    }

    /// Everything, sorted by name.
    package func text() -> String {
        let all = families.withLockedValue { Array($0.values) }
        return all.sorted { $0.name < $1.name }.map { $0.text() }.joined()
    }

    private func family<Family: MetricFamily>(_ name: String, _ make: () -> Family) -> Family {
        families.withLockedValue { families in
            if let known = families[name] as? Family { return known }
            precondition(families[name] == nil, "metric \(name) exists with another type")
            let family = make()
            families[name] = family
            return family
        }
    }
}

private protocol MetricFamily: Sendable {
    var name: String { get }
    func text() -> String
}

/// A number per combination of label values.
package final class Counter: MetricFamily {
    fileprivate let name: String
    private let help: String
    private let labels: [String]
    private let kind: String
    private let values: NIOLockedValueBox<[[String]: Double]>

    fileprivate init(name: String, help: String, labels: [String], kind: String) {
        self.name = name
        self.help = help
        self.labels = labels
        self.kind = kind
        values = .init(labels.isEmpty ? [[]: 0] : [:])
    }

    package func add(_ amount: Double = 1, _ labelValues: [String] = []) {
        values.withLockedValue { $0[labelValues, default: 0] += amount }
    }

    package func set(_ value: Double, _ labelValues: [String] = []) { values.withLockedValue { $0[labelValues] = value } }

    package func value(_ labelValues: [String] = []) -> Double { values.withLockedValue { $0[labelValues] ?? 0 } }

    fileprivate func text() -> String {
        let rows = values.withLockedValue { $0 }
        return header(name, help, kind)
            + rows.sorted { $0.key.lexicographicallyPrecedes($1.key) }
            .map { "\(name)\(labelText(labels, $0.key)) \(number($0.value))\n" }.joined()
    }
}

/// How often a value fell below each bound, per combination of label values.
package final class Histogram: MetricFamily {
    private struct Series {
        var counts: [UInt64]
        var sum = 0.0
        var count: UInt64 = 0
    }

    fileprivate let name: String
    private let help: String
    private let labels: [String]
    private let buckets: [Double]
    private let series = NIOLockedValueBox<[[String]: Series]>([:])

    fileprivate init(name: String, help: String, labels: [String], buckets: [Double]) {
        self.name = name
        self.help = help
        self.labels = labels
        self.buckets = buckets
    }

    package func record(_ value: Double, _ labelValues: [String] = []) {
        let place = buckets.firstIndex { value <= $0 }
        series.withLockedValue { series in
            var one = series[labelValues] ?? Series(counts: Array(repeating: 0, count: buckets.count))
            series[labelValues] = nil
            if let place { one.counts[place] += 1 }
            one.sum += value
            one.count += 1
            series[labelValues] = one
        }
    }

    package func record(_ duration: Duration, _ labelValues: [String] = []) { record(duration / .seconds(1), labelValues) }

    fileprivate func text() -> String {
        var text = header(name, help, "histogram")
        for (key, one) in series.withLockedValue({ $0 }).sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            var below: UInt64 = 0
            for (bound, count) in zip(buckets, one.counts) {
                below += count
                text += "\(name)_bucket\(labelText(labels + ["le"], key + [number(bound)])) \(below)\n"
            }
            text += "\(name)_bucket\(labelText(labels + ["le"], key + ["+Inf"])) \(one.count)\n"
            text += "\(name)_sum\(labelText(labels, key)) \(number(one.sum))\n"
            text += "\(name)_count\(labelText(labels, key)) \(one.count)\n"
        }
        return text
    }
}

private struct Observed: MetricFamily {
    let name: String
    let help: String
    let read: @Sendable () -> Double
    func text() -> String { header(name, help, "gauge") + "\(name) \(number(read()))\n" }
}

private func header(_ name: String, _ help: String, _ kind: String) -> String { "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n" }

private func number(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
}

private func labelText(_ names: [String], _ values: [String]) -> String {
    if names.isEmpty { return "" }
    let pairs = zip(names, values).map { name, value in
        let escaped = value.map { $0 == "\\" ? "\\\\" : $0 == "\"" ? "\\\"" : $0 == "\n" ? "\\n" : String($0) }.joined()
        return "\(name)=\"\(escaped)\""
    }
    return "{" + pairs.joined(separator: ",") + "}"
}

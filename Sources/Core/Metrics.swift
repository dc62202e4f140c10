import NIOConcurrencyHelpers

/// Counters, gauges and histograms, shown in the text format of Prometheus. Names begin with `slipway_`; labels hold no user unless
/// an operator asks for it, and never a token or a session, so that the number of series stays small.
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

    /// Families that are written as one text, with the standard's own names, which do not begin with `slipway_`.
    package func add(_ name: String, _ write: @escaping @Sendable () -> String) {
        _ = family(name) { Foreign(name: name, write: write) }
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
        return PrometheusText.head(name, help, kind: kind)
            + rows.sorted { $0.key.lexicographicallyPrecedes($1.key) }
            .map { "\(name)\(PrometheusText.labels(Array(zip(labels, $0)))) \(PrometheusText.number($1))\n" }.joined()
    }
}

/// How often a value fell below each bound, per combination of label values.
package final class Histogram: MetricFamily {
    fileprivate let name: String
    private let help: String
    private let labels: [String]
    private let buckets: [Double]
    private let series = NIOLockedValueBox<[[String]: Buckets]>([:])

    fileprivate init(name: String, help: String, labels: [String], buckets: [Double]) {
        self.name = name
        self.help = help
        self.labels = labels
        self.buckets = buckets
    }

    package func record(_ value: Double, _ labelValues: [String] = []) {
        series.withLockedValue { $0[labelValues, default: Buckets(buckets)].record(value) }
    }

    package func record(_ duration: Duration, _ labelValues: [String] = []) { record(duration / .seconds(1), labelValues) }

    fileprivate func text() -> String {
        PrometheusText.head(name, help)
            + series.withLockedValue { $0 }.sorted { $0.key.lexicographicallyPrecedes($1.key) }
            .map { $1.text(name, Array(zip(labels, $0))) }.joined()
    }
}

/// Lines that somebody else writes.
private struct Foreign: MetricFamily {
    let name: String
    let write: @Sendable () -> String
    func text() -> String { write() }
}

private struct Observed: MetricFamily {
    let name: String
    let help: String
    let read: @Sendable () -> Double
    func text() -> String { PrometheusText.head(name, help, kind: "gauge") + "\(name) \(PrometheusText.number(read()))\n" }
}

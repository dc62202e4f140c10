/// What a provider that is asked to take part in traces gets of them.
enum TraceHeaders {
    /// The attempt's own span as `traceparent`, or the client's where nothing is traced here; the client's `tracestate` as it came, for the
    /// standard has who adds nothing to it pass it on. `baggage` goes nowhere: it can hold anything.
    static func upstream(_ call: GatewayCall) -> [(name: String, value: String)] {
        let parent = call.trace?.header ?? CallTrace.parent(call.headers)?.header
        guard let parent else { return [] }
        let states = call.headers.filter { $0.name.utf8.count == 10 && $0.name.lowercased() == "tracestate" }
        return [(name: "traceparent", value: parent)] + states.map { (name: "tracestate", value: $0.value) }
    }
}

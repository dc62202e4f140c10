import AgentProtocol

/// A request's query, with an error that names the field for everything that is missing or out of range.
struct Query {
    private let values: [String: String]

    init(_ values: [String: String]) { self.values = values }

    func has(_ name: String) -> Bool { values[name] != nil }

    func text(_ name: String, default other: String? = nil) throws(AgentFailure) -> String {
        guard let value = values[name] ?? other else { throw AgentFailure(.badRequest, "\(name): expected a value") }
        return value
    }

    func integer(_ name: String, _ range: ClosedRange<Int64>, default other: Int64? = nil) throws(AgentFailure) -> Int64 {
        guard let text = values[name] else {
            guard let other else { throw AgentFailure(.badRequest, "\(name): expected a number") }
            return other
        }
        guard let value = Int64(text), range.contains(value) else {
            throw AgentFailure(.badRequest, "\(name): expected a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func fence() throws(AgentFailure) -> Fence {
        Fence(try integer("fence", Int64.min...Int64.max), scope: try text("scope", default: Fence(0).scope))
    }

    func search() throws(AgentFailure) -> SearchQuery {
        SearchQuery(
            pattern: try text("pattern"), path: try text("path", default: "."), glob: values["glob"],
            limit: Int(try integer("limit", 1...1000, default: 200)), literal: values["literal"] == "true",
            ignoreCase: values["ignore_case"] == "true")
    }
}

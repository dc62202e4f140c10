/// A tool of an MCP server that the gateway offers to a model beside the client's own, and runs itself.
package struct InjectedTool: Sendable, Equatable {
    /// As the model is told: letters, digits, `_` and `-`, at most 64 of them.
    package let name: String
    package let server: String
    package let tool: String
    let description: String
    /// JSON.
    let schema: String

    /// In the protocol's own words.
    func definition(_ api: ModelProtocol) -> String {
        JSONWriter.object { json in
            switch api {
            case .messages, .gemini:
                json.field("name", name)
                if !description.isEmpty { json.field("description", description) }
                json.field("input_schema", raw: schema)
            case .chatCompletions:
                json.field("type", "function")
                json.fieldObject("function") {
                    $0.field("name", name)
                    if !description.isEmpty { $0.field("description", description) }
                    $0.field("parameters", raw: schema)
                }
            case .responses:
                json.field("type", "function")
                json.field("name", name)
                if !description.isEmpty { json.field("description", description) }
                json.field("parameters", raw: schema)
                // Schemas of servers seldom keep to what the strict mode asks for.
                json.field("strict", false)
            }
        }.text
    }
}

/// The tools that are injected into one call, in an order that is the same each time, so that prompt caches hit.
package struct InjectedTools: Sendable, Equatable {
    /// OpenAI takes no more than 128 in all.
    package static let most = 64
    package static let mostBytes = 256 << 10

    package private(set) var all: [InjectedTool] = []
    private var places: [String: Int] = [:]
    /// How many were left out: too many, or of a name that the client has a tool of.
    package private(set) var leftOut = 0
    /// Servers that have tools, none of which was taken.
    package private(set) var shutOut: Set<String> = []

    /// - Parameter taken: names of the client's own tools; those stay the client's.
    package init(_ listed: [(server: String, tool: MCPTool)], taken: Set<String>) {
        var bytes = 0
        for (server, tool) in listed.sorted(by: { ($0.server, $0.tool.name) < ($1.server, $1.tool.name) }) {
            let name = ToolNames.fitting(server + MCP.separator + tool.name, limit: 64)
            let schema = tool.fields["inputSchema"].flatMap { JSONText.isObject($0) ? ToolSchema.compact($0) : nil }
            let injected = InjectedTool(
                name: name, server: server, tool: tool.name, description: tool.description ?? "",
                schema: schema ?? #"{"type":"object"}"#)
            let size = injected.schema.utf8.count + injected.description.utf8.count
            guard all.count < Self.most, bytes + size <= Self.mostBytes, !taken.contains(name), places[name] == nil else {
                leftOut += 1
                shutOut.insert(server)
                continue
            }
            bytes += size
            places[name] = all.count
            all.append(injected)
        }
        shutOut.subtract(all.map(\.server))
    }

    package var isEmpty: Bool { all.isEmpty }
    package var names: Set<String> { Set(places.keys) }
    package subscript(name: String) -> InjectedTool? { places[name].map { all[$0] } }
}

/// Names and versions of the Model Context Protocol, https://modelcontextprotocol.io/specification.
package enum MCP {
    /// Newest first; all of them are streamable HTTP, and alike in what is used here.
    package static let versions = ["2025-06-18", "2025-03-26"]
    package static var newestVersion: String { versions[0] }
    /// Of programs: over standard input and output an older one is the same.
    package static let programVersions = versions + ["2024-11-05"]
    /// Between a server's name and its tool's, in the names that we offer. Names of servers have no underscore.
    package static let separator = "__"
}

/// A tool as its server describes it.
package struct MCPTool: Sendable, Equatable {
    package var name: String
    package var description: String?
    /// The whole description, as JSON that was not touched.
    package var fields: JSONObjectText

    /// Nil for what has no usable name: 1 to 128 printable ASCII characters without spaces.
    package init?(_ json: String) {
        guard let fields = JSONObjectText(json), let name = fields.string("name"), Self.isUsable(name) else { return nil }
        self.fields = fields
        self.name = name
        description = fields.string("description")
    }

    package static func isUsable(_ name: String) -> Bool {
        (1...128).contains(name.utf8.count) && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }

    /// The same description under the name by which we offer it.
    package func offered(by server: String) -> String {
        var fields = fields
        fields["name"] = JSONText.quoted(server + MCP.separator + name)
        return fields.text
    }
}

/// What a client asks for with `tools/call`.
package struct MCPToolCall: Sendable, Equatable {
    package var name: String
    /// A JSON object.
    package var arguments: String
    /// A JSON string or number.
    package var progressToken: String?
    /// The model's own id of the call, where the client tells it.
    package var toolUseID: String?
    private var meta: JSONObjectText

    /// - Throws: `invalidParams` saying what is wrong.
    package init(params: String?) throws(MCPError) {
        guard let params, let fields = JSONObjectText(params) else {
            throw MCPError(MCPError.invalidParams, "tools/call needs params with a name.")
        }
        guard let name = fields.string("name") else { throw MCPError(MCPError.invalidParams, "params.name must be a string.") }
        let arguments = fields["arguments"] ?? "{}"
        guard JSONText.isObject(arguments) || arguments == "null" else {
            throw MCPError(MCPError.invalidParams, "params.arguments must be an object.")
        }
        if fields["_meta"] != nil, fields.object("_meta") == nil {
            throw MCPError(MCPError.invalidParams, "params._meta must be an object.")
        }
        self.name = name
        self.arguments = arguments == "null" ? "{}" : arguments
        meta = fields.object("_meta") ?? JSONObjectText()
        progressToken = meta["progressToken"]
        toolUseID = meta.string("claudecode/toolUseId").map { String($0.prefix(200)) }
        meta["progressToken"] = nil
    }

    /// The params for the server that has the tool.
    package func params(tool: String, progressToken: String?) -> String {
        var meta = meta
        if let progressToken { meta["progressToken"] = progressToken }
        var fields = JSONObjectText()
        fields["name"] = JSONText.quoted(tool)
        fields["arguments"] = arguments
        if !meta.isEmpty { fields["_meta"] = meta.text }
        return fields.text
    }
}

/// All tools that somebody may use, a page at a time, in order of their names.
package struct MCPToolPages: Sendable {
    package static let pageSize = 100
    private let tools: [(name: String, json: String)]

    package init(_ tools: [(server: String, tool: MCPTool)]) {
        self.tools = tools.map { ($0.server + MCP.separator + $0.tool.name, $0.tool.offered(by: $0.server)) }
            .sorted { $0.name < $1.name }
    }

    /// The result of `tools/list`. The cursor is the last name of the page before: it is good also when tools come and go.
    package func result(params: String?) throws(MCPError) -> String {
        let fields = params.flatMap { JSONObjectText($0) }
        var rest = tools[...]
        if let cursor = fields?["cursor"], cursor != "null" {
            guard let last = JSONText.string(cursor) else {
                throw MCPError(MCPError.invalidParams, "params.cursor is none of ours; take it from the page before.")
            }
            rest = rest.drop { $0.name <= last }
        }
        let page = rest.prefix(Self.pageSize)
        var result = JSONObjectText()
        result["tools"] = "[" + page.map(\.json).joined(separator: ",") + "]"
        if page.count < rest.count, let last = page.last { result["nextCursor"] = JSONText.quoted(last.name) }
        return result.text
    }
}

import Core
import ModelAPI

/// Reads all pages of a server's list of tools; together they have the time of one request.
enum ToolListing {
    /// How many tools there may be, and how many bytes they may have.
    private static let mostTools = 2000
    private static let mostBytes = UpstreamSession.largestAnswer
    private static let mostPages = 50

    /// - Parameter ask: asks for a page with these params, and has so much time.
    static func read(
        within limit: Duration, of server: String, _ ask: (_ params: String, _ left: Duration) async throws -> String
    ) async throws -> [MCPTool] {
        var all: [MCPTool] = []
        var names: Set<String> = []
        var (bytes, pages) = (0, 0)
        var cursor: String?
        let end = ContinuousClock.now + limit
        repeat {
            let left = ContinuousClock.now.duration(to: end)
            guard left > .zero else {
                let seconds = max(1, Int((limit / .seconds(1)).rounded(.up)))
                throw AppError(
                    .timeout, "The MCP server '\(server)' did not list its tools within \(seconds) seconds.", source: .upstream)
            }
            var params = JSONObjectText()
            if let cursor { params["cursor"] = cursor }
            let result = try await ask(params.text, left)
            pages += 1
            bytes += result.utf8.count
            guard let fields = JSONObjectText(result), let list = fields["tools"].flatMap(JSONText.elements) else {
                throw failure(server, "sent a list of tools that is none")
            }
            for tool in list.lazy.compactMap({ MCPTool($0) }) where names.insert(tool.name).inserted { all.append(tool) }
            let next = fields["nextCursor"].flatMap { $0 == "null" ? nil : $0 }
            guard all.count <= mostTools, bytes <= mostBytes, next == nil || (next != cursor && pages < mostPages) else {
                throw failure(server, "offers more than \(mostTools) tools, or a list that has no end within \(mostPages) pages")
            }
            cursor = next
        } while cursor != nil
        return all
    }

    private static func failure(_ server: String, _ what: String) -> AppError {
        AppError(.upstream, "The MCP server '\(server)' \(what).", source: .upstream)
    }
}

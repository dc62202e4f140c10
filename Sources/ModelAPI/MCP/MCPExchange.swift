/// What the messages mean that a server sends while it works on one request of ours: on the answer to the POST, as one JSON body or as
/// events. A pure value.
package struct MCPExchange: Sendable {
    package enum Action: Sendable, Equatable {
        /// The answer to the request. Whatever comes after it means nothing.
        case finished(Result<String, MCPError>)
        /// The params of a progress notification about the request.
        case progress(String)
        /// To be sent to the server.
        case reply(MCPMessage)
        /// The server's tools are others now.
        case toolsChanged
    }

    package let id: MCPID
    /// JSON; nil when no progress was asked for.
    package let progressToken: String?
    package private(set) var isFinished = false
    /// The most requests of the server that are answered while it works on ours: each costs a request of our own.
    package static let mostReplies = 16
    private var replies = 0

    package init(id: MCPID, progressToken: String? = nil) {
        self.id = id
        self.progressToken = progressToken
    }

    package mutating func handle(_ message: MCPMessage) -> [Action] {
        if isFinished { return [] }
        switch message {
        case .result(let id, let result) where id == self.id:
            isFinished = true
            return [.finished(JSONText.isObject(result) ? .success(result) : .failure(Self.noObject))]
        case .failure(let id, let error) where id == self.id || id == nil:
            isFinished = true
            return [.finished(.failure(error))]
        case .result, .failure:
            return []  // to somebody else's request, or to one given up
        case .request where replies == Self.mostReplies:
            isFinished = true
            return [.finished(.failure(Self.asksTooMuch))]
        case .request(let id, "ping", _):
            replies += 1
            return [.reply(.result(id: id, result: "{}"))]
        case .request(let id, let method, _):
            replies += 1
            // We announce no capability (sampling, elicitation, roots), so a server has no right to ask.
            return [.reply(.failure(id: id, MCPError(MCPError.methodNotFound, "The client does not offer \(method.prefix(80)).")))]
        case .notification("notifications/progress", let params):
            guard let params, let token = progressToken, JSONObjectText(params)?["progressToken"] == token else { return [] }
            return [.progress(params)]
        case .notification("notifications/tools/list_changed", _):
            return [.toolsChanged]
        case .notification:
            return []
        }
    }

    private static let asksTooMuch = MCPError(
        MCPError.internalError, "The server asks more than \(mostReplies) things itself before it answers.")
    private static let noObject = MCPError(MCPError.internalError, "The server's result is no object.")
}

import ModelAPI

/// What a path below a provider is for. Only what is listed here passes: everything else is 404.
///
/// Not listed on purpose: whatever reads back or removes what is stored at the provider (`GET v1/responses/{id}`, files, batches). All
/// users share the provider's key, so each could read what another stored.
enum GatewayRoute: Equatable {
    case model(ModelProtocol)
    /// Vectors for texts: a call with an input and no output.
    case embedding(EmbeddingSummary.Format)
    /// Costs nothing and says nothing of a conversation's answer: passed on without a hold and without a record.
    case free
    /// Claude Code asks this first.
    case hello
    case unknown

    /// - Parameter route: without a leading slash; a query is ignored.
    init(method: String, route: String) {
        let path = route.prefix { $0 != "?" }
        // Whatever the provider's server would resolve to another path than the one that is judged here.
        if Self.resolvesElsewhere(path) {
            self = .unknown
            return
        }
        switch (method, path) {
        case ("POST", "v1/messages"): self = .model(.messages)
        case ("POST", "v1/chat/completions"), ("POST", "chat/completions"): self = .model(.chatCompletions)
        case ("POST", "v1/responses"), ("POST", "responses"): self = .model(.responses)
        case ("POST", "v1/embeddings"), ("POST", "embeddings"): self = .embedding(.openAI)
        case ("POST", "v1/messages/count_tokens"), ("GET", "v1/models"), ("GET", "models"), ("GET", "v1beta/models"): self = .free
        case ("GET", _) where !path.contains(":") && path.hasPrefix("v1beta/models/"): self = .free
        case ("GET", _) where path.hasPrefix("v1/models/") || path.hasPrefix("models/"): self = .free
        case ("POST", _) where path.hasPrefix("v1beta/models/") || path.hasPrefix("v1/models/"): self = Self.gemini(path)
        case ("HEAD", "api/hello"), ("GET", "api/hello"): self = .hello
        default: self = .unknown
        }
    }

    private static func resolvesElsewhere(_ path: Substring) -> Bool {
        var previous: UInt8 = 0
        for byte in path.utf8 {
            if byte == UInt8(ascii: "%") || byte == previous && (byte == UInt8(ascii: ".") || byte == UInt8(ascii: "/")) {
                return true
            }
            previous = byte
        }
        return false
    }

    /// Gemini names the model and what is wanted of it in the path: `v1beta/models/<model>:generateContent`.
    private static func gemini(_ path: Substring) -> GatewayRoute {
        guard let colon = path.lastIndex(of: ":") else { return .unknown }
        return switch path[path.index(after: colon)...] {
        case "generateContent", "streamGenerateContent": .model(.gemini)
        case "embedContent", "batchEmbedContents": .embedding(.gemini)
        case "countTokens": .free
        default: .unknown
        }
    }

    /// For the message of a 404.
    static let served = """
        POST v1/messages, v1/messages/count_tokens, v1/chat/completions, v1/responses, v1/embeddings, \
        v1beta/models/<model>:generateContent, :streamGenerateContent?alt=sse, :countTokens, :embedContent and :batchEmbedContents; GET v1/models and v1beta/models
        """

    /// In whose words errors are told.
    static func errorProtocol(route: String, provider: Provider?) -> ModelProtocol {
        if route.contains("chat/completions") || route.hasPrefix("v1/embeddings") || route.hasPrefix("embeddings") {
            return .chatCompletions
        }
        if route.contains("messages") { return .messages }
        if route.contains("responses") { return .responses }
        if route.contains(":generateContent") || route.contains(":streamGenerateContent") || route.contains(":countTokens")
            || route.contains(":embedContent") || route.contains(":batchEmbedContents")
        {
            return .gemini
        }
        return provider?.type.format.api ?? .messages
    }
}

extension ModelProtocol {
    /// Where a model is asked in this protocol.
    func route(model: String, stream: Bool) -> String {
        switch self {
        case .messages: "v1/messages"
        case .chatCompletions: "v1/chat/completions"
        case .responses: "v1/responses"
        case .gemini: "v1beta/models/\(model):" + (stream ? "streamGenerateContent?alt=sse" : "generateContent")
        }
    }
}

extension Gateway {
    /// In whose words those are refused who are not let in.
    package static func errorProtocol(ofPath path: String) -> ModelProtocol {
        GatewayRoute.errorProtocol(route: path, provider: nil)
    }
}

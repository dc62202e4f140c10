/// An alias of models: calls under `/api/v2/ai-gateway/auto/` that name it go to the first of its targets that answers.
public struct AIModelRoute: Codable, Sendable, Equatable {
    public var name: String
    /// One tier each, tried one after the other: `anthropic/claude-haiku-4-5`, or several with their weights:
    /// `openai/gpt-5-mini*3,azure/gpt-5-mini`.
    public var targets: [String]

    public init(name: String, targets: [String]) {
        self.name = name
        self.targets = targets
    }
}

public struct ModelRouteList: Codable, Sendable, Equatable {
    public var routes: [AIModelRoute]

    public init(routes: [AIModelRoute]) {
        self.routes = routes
    }
}

/// `PUT /api/v2/ai/routes/{route}`.
public struct PutModelRouteRequest: Codable, Sendable, Equatable {
    public var targets: [String]

    public init(targets: [String]) {
        self.targets = targets
    }
}

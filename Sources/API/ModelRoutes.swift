/// An alias of models: calls under `/api/v2/ai-gateway/auto/` that name it go to the first of its targets that answers.
public struct AIModelRoute: Codable, Sendable, Equatable {
    public var name: String
    /// One tier each, tried one after the other: `anthropic/claude-haiku-4-5`, or several with their weights:
    /// `openai/gpt-5-mini*3,azure/gpt-5-mini`.
    public var targets: [String]
    /// Nil: its calls are never sent twice.
    public var hedge: AIRouteHedge?

    public init(name: String, targets: [String], hedge: AIRouteHedge? = nil) {
        self.name = name
        self.targets = targets
        self.hedge = hedge
    }
}

/// When a call whose first attempt has got no answer yet is sent a second time, to the next target.
public struct AIRouteHedge: Codable, Sendable, Equatable {
    /// `p50` to `p99` of the target's recent times to the head of its answer, or a time, `10ms` to `600s`.
    public var after: String
    /// The least time with a quantile: 0 to 600,000; nil: 200.
    public var floorMilliseconds: Int?
    /// How many recent times there have to be: 1 to 200; nil: 30.
    public var samples: Int?
    /// How many of the calls may be sent twice: 1 to 100; nil: 10.
    public var sharePercent: Int?

    public init(after: String, floorMilliseconds: Int? = nil, samples: Int? = nil, sharePercent: Int? = nil) {
        self.after = after
        self.floorMilliseconds = floorMilliseconds
        self.samples = samples
        self.sharePercent = sharePercent
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
    public var hedge: AIRouteHedge?

    public init(targets: [String], hedge: AIRouteHedge? = nil) {
        self.targets = targets
        self.hedge = hedge
    }
}

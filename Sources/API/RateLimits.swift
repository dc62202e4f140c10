/// How fast some calls may be made; all that match a call apply to it.
public struct AIRateLimit: Codable, Sendable, Equatable {
    public var name: String
    /// The name of the user whose calls it is for; absent: anybody's.
    public var user: String?
    public var provider: String?
    /// A pattern, where `*` stands for any characters.
    public var model: String?
    /// Each user has the whole of it; false: they share it.
    public var perUser: Bool
    public var requestsPerMinute: Int64?
    public var tokensPerMinute: Int64?
    /// Calls under way at the same time.
    public var concurrency: Int64?
    /// Calls under way now, of all users.
    public var open: Int64

    public init(
        name: String, user: String? = nil, provider: String? = nil, model: String? = nil, perUser: Bool = false,
        requestsPerMinute: Int64? = nil, tokensPerMinute: Int64? = nil, concurrency: Int64? = nil, open: Int64 = 0
    ) {
        self.name = name
        self.user = user
        self.provider = provider
        self.model = model
        self.perUser = perUser
        self.requestsPerMinute = requestsPerMinute
        self.tokensPerMinute = tokensPerMinute
        self.concurrency = concurrency
        self.open = open
    }
}

/// `GET /api/v2/ai/limits`: by name, at most a thousand. Who may not see everybody's sees those that can apply to the caller.
public struct AIRateLimitList: Codable, Sendable, Equatable {
    public var limits: [AIRateLimit]

    public init(limits: [AIRateLimit]) {
        self.limits = limits
    }
}

/// `PUT /api/v2/ai/limits/{limit}`: creates the limit of this name or replaces it. At least one of the last three.
public struct SetAIRateLimitRequest: Codable, Sendable, Equatable {
    /// Name or id.
    public var user: String?
    public var provider: String?
    public var model: String?
    public var perUser: Bool?
    public var requestsPerMinute: Int64?
    public var tokensPerMinute: Int64?
    public var concurrency: Int64?

    public init(
        user: String? = nil, provider: String? = nil, model: String? = nil, perUser: Bool? = nil, requestsPerMinute: Int64? = nil,
        tokensPerMinute: Int64? = nil, concurrency: Int64? = nil
    ) {
        self.user = user
        self.provider = provider
        self.model = model
        self.perUser = perUser
        self.requestsPerMinute = requestsPerMinute
        self.tokensPerMinute = tokensPerMinute
        self.concurrency = concurrency
    }
}

import Foundation

/// A provider of models. Its key is never returned.
public struct AIProvider: Codable, Sendable, Equatable {
    public var id: String
    /// The part of the path after `/api/v2/ai-gateway/`.
    public var name: String
    public var displayName: String
    /// `anthropic`, `openai`, `azure`, `gemini` or `bedrock`.
    public var type: String
    public var baseURL: String
    public var enabled: Bool
    /// Loopback and private addresses are refused without it.
    public var allowPrivate: Bool
    public var keyHints: [String]
    public var scripted: Bool
    public var settings: AICallSettings

    public init(
        id: String, name: String, displayName: String, type: String, baseURL: String, enabled: Bool, allowPrivate: Bool,
        keyHints: [String], scripted: Bool, settings: AICallSettings
    ) {
        self.id = id
        self.name = name
        self.displayName = displayName
        self.type = type
        self.baseURL = baseURL
        self.enabled = enabled
        self.allowPrivate = allowPrivate
        self.keyHints = keyHints
        self.scripted = scripted
        self.settings = settings
    }
}

/// How long a provider's calls may take, and what becomes of those whose client leaves. What is absent is as the server has it.
public struct AICallSettings: Codable, Sendable, Equatable {
    /// Seconds until the answer's head, 1 to 3600.
    public var firstByteSeconds: Int?
    /// Seconds between two pieces of an answer, 1 to 3600.
    public var idleSeconds: Int?
    /// Seconds for the whole call, 1 to 86,400.
    public var totalSeconds: Int?
    /// Seconds of silence after which the client of a stream gets a ping; 0: never; default 15.
    public var pingSeconds: Int?
    /// Seconds for which a stream is read on when its client has left; 0: it is aborted.
    public var drainSeconds: Int?
    /// `chat_completions`, `responses`: of what the type speaks, that which this provider speaks.
    public var protocols: [String]?
    /// Bedrock: the region to sign for, where the base URL does not name it.
    public var region: String?
    /// Whether the provider is told in which trace it is called; default: no.
    public var traceContext: Bool?
    /// For single models, by a pattern in which * stands for any run of characters.
    public var models: [String: AICallSettings]?

    public init(
        firstByteSeconds: Int? = nil, idleSeconds: Int? = nil, totalSeconds: Int? = nil, pingSeconds: Int? = nil,
        drainSeconds: Int? = nil, protocols: [String]? = nil, region: String? = nil, traceContext: Bool? = nil,
        models: [String: AICallSettings]? = nil
    ) {
        self.firstByteSeconds = firstByteSeconds
        self.idleSeconds = idleSeconds
        self.totalSeconds = totalSeconds
        self.pingSeconds = pingSeconds
        self.drainSeconds = drainSeconds
        self.protocols = protocols
        self.region = region
        self.traceContext = traceContext
        self.models = models
    }
}

public struct AIProviderList: Codable, Sendable, Equatable {
    public var providers: [AIProvider]

    public init(providers: [AIProvider]) {
        self.providers = providers
    }
}

/// `POST /api/v2/ai/providers`.
public struct CreateAIProviderRequest: Codable, Sendable, Equatable {
    public var name: String
    public var displayName: String?
    public var type: String
    /// Default: the provider's public address.
    public var baseURL: String?
    public var apiKey: String?
    public var allowPrivate: Bool?

    public init(
        name: String, displayName: String? = nil, type: String, baseURL: String? = nil, apiKey: String? = nil,
        allowPrivate: Bool? = nil
    ) {
        self.name = name
        self.displayName = displayName
        self.type = type
        self.baseURL = baseURL
        self.apiKey = apiKey
        self.allowPrivate = allowPrivate
    }
}

/// `PATCH /api/v2/ai/providers/{provider}`: what is absent stays.
public struct UpdateAIProviderRequest: Codable, Sendable, Equatable {
    public var displayName: String?
    public var baseURL: String?
    public var apiKey: String?
    /// All keys in the order of their use, at most 5; in place of `api_key`.
    public var apiKeys: [String]?
    public var enabled: Bool?
    public var allowPrivate: Bool?
    /// Replaces all of them.
    public var settings: AICallSettings?

    public init(
        displayName: String? = nil, baseURL: String? = nil, apiKey: String? = nil, apiKeys: [String]? = nil, enabled: Bool? = nil,
        allowPrivate: Bool? = nil, settings: AICallSettings? = nil
    ) {
        self.displayName = displayName
        self.baseURL = baseURL
        self.apiKey = apiKey
        self.apiKeys = apiKeys
        self.enabled = enabled
        self.allowPrivate = allowPrivate
        self.settings = settings
    }
}

/// A model with a price in force; only those may be called.
public struct AIModel: Codable, Sendable, Equatable {
    public var provider: String
    public var model: String
    public var type: String
    /// Millionths of a US dollar per million tokens.
    public var inputPerMillion: Int64
    public var outputPerMillion: Int64
    public var cacheReadPerMillion: Int64
    public var cacheWritePerMillion: Int64
    /// `custom`, `imported` or `book`.
    public var source: String

    public init(
        provider: String, model: String, type: String, inputPerMillion: Int64, outputPerMillion: Int64, cacheReadPerMillion: Int64,
        cacheWritePerMillion: Int64, source: String
    ) {
        self.provider = provider
        self.model = model
        self.type = type
        self.inputPerMillion = inputPerMillion
        self.outputPerMillion = outputPerMillion
        self.cacheReadPerMillion = cacheReadPerMillion
        self.cacheWritePerMillion = cacheWritePerMillion
        self.source = source
    }
}

public struct AIModelList: Codable, Sendable, Equatable {
    public var models: [AIModel]

    public init(models: [AIModel]) {
        self.models = models
    }
}

/// Who may use which models. Without any policy everybody may use all of them.
public struct ModelPolicy: Codable, Sendable, Equatable {
    public var id: String
    public var name: String
    /// `<provider>/<model>`, where `*` stands for any characters.
    public var models: [String]
    public var roles: [String]
    public var userIDs: [String]

    public init(id: String, name: String, models: [String], roles: [String], userIDs: [String]) {
        self.id = id
        self.name = name
        self.models = models
        self.roles = roles
        self.userIDs = userIDs
    }
}

public struct ModelPolicyList: Codable, Sendable, Equatable {
    public var policies: [ModelPolicy]

    public init(policies: [ModelPolicy]) {
        self.policies = policies
    }
}

/// `POST /api/v2/ai/model-policies`.
public struct CreateModelPolicyRequest: Codable, Sendable, Equatable {
    public var name: String
    public var models: [String]
    public var roles: [String]?
    /// User names or ids.
    public var users: [String]?

    public init(name: String, models: [String], roles: [String]? = nil, users: [String]? = nil) {
        self.name = name
        self.models = models
        self.roles = roles
        self.users = users
    }
}

/// `GET /api/v2/users/{user}/ai/budget`: this month's, UTC.
public struct AIBudget: Codable, Sendable, Equatable {
    public var userID: String
    public var username: String
    /// E.g. `2026-11`.
    public var period: String
    /// Absent: no cap.
    public var capNanoDollars: Int64?
    public var spentNanoDollars: Int64
    public var heldNanoDollars: Int64

    public init(
        userID: String, username: String, period: String, capNanoDollars: Int64? = nil, spentNanoDollars: Int64,
        heldNanoDollars: Int64
    ) {
        self.userID = userID
        self.username = username
        self.period = period
        self.capNanoDollars = capNanoDollars
        self.spentNanoDollars = spentNanoDollars
        self.heldNanoDollars = heldNanoDollars
    }
}

/// `PUT /api/v2/users/{user}/ai/budget`.
public struct SetAIBudgetRequest: Codable, Sendable, Equatable {
    /// Absent removes the cap.
    public var capNanoDollars: Int64?

    public init(capNanoDollars: Int64? = nil) {
        self.capNanoDollars = capNanoDollars
    }
}

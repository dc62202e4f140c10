import Foundation

/// The tokens of a call, told apart as they are priced; the input classes do not overlap.
public struct TokenUsage: Codable, Sendable, Equatable {
    public var inputTokens: Int
    public var cacheReadInputTokens: Int
    public var cacheWriteInputTokens: Int
    public var outputTokens: Int
    public var reasoningTokens: Int

    public init(inputTokens: Int, cacheReadInputTokens: Int, cacheWriteInputTokens: Int, outputTokens: Int, reasoningTokens: Int) {
        self.inputTokens = inputTokens
        self.cacheReadInputTokens = cacheReadInputTokens
        self.cacheWriteInputTokens = cacheWriteInputTokens
        self.outputTokens = outputTokens
        self.reasoningTokens = reasoningTokens
    }
}

public struct ToolUsage: Codable, Sendable, Equatable {
    public var id: String
    public var tool: String
    /// JSON as the model wrote it.
    public var input: String
    /// What a later call of the conversation told the model.
    public var result: String?
    public var isError: Bool?

    public init(id: String, tool: String, input: String, result: String? = nil, isError: Bool? = nil) {
        self.id = id
        self.tool = tool
        self.input = input
        self.result = result
        self.isError = isError
    }
}

public struct LedgerRow: Codable, Sendable, Equatable {
    public var attempt: Int
    /// Who is paid, and for which model: of a call through a route, where it went.
    public var provider: String?
    public var model: String?
    /// `final`, `estimated` or `unknown`.
    public var state: String
    public var usage: TokenUsage
    public var costNanoDollars: Int64
    public var holdNanoDollars: Int64
    public var overrunNanoDollars: Int64
    public var priceID: String
    public var settledAt: Date

    public init(
        attempt: Int, state: String, usage: TokenUsage, costNanoDollars: Int64, holdNanoDollars: Int64, overrunNanoDollars: Int64,
        priceID: String, settledAt: Date
    ) {
        self.attempt = attempt
        self.state = state
        self.usage = usage
        self.costNanoDollars = costNanoDollars
        self.holdNanoDollars = holdNanoDollars
        self.overrunNanoDollars = overrunNanoDollars
        self.priceID = priceID
        self.settledAt = settledAt
    }
}

/// One of several attempts at a call.
public struct CallAttempt: Codable, Sendable, Equatable {
    /// 1 is the first.
    public var attempt: Int
    public var provider: String
    public var model: String
    public var credentialHint: String
    /// Absent: no head of an answer came.
    public var httpStatus: Int?
    /// Why it was not the last; absent for the one whose answer was handed out.
    public var error: String?
    /// Since the first one began.
    public var beganMilliseconds: Int64
    public var endedMilliseconds: Int64

    public init(
        attempt: Int, provider: String, model: String, credentialHint: String, httpStatus: Int?, error: String?,
        beganMilliseconds: Int64, endedMilliseconds: Int64
    ) {
        self.attempt = attempt
        self.provider = provider
        self.model = model
        self.credentialHint = credentialHint
        self.httpStatus = httpStatus
        self.error = error
        self.beganMilliseconds = beganMilliseconds
        self.endedMilliseconds = endedMilliseconds
    }
}

/// One model call.
public struct Interception: Codable, Sendable, Equatable {
    public var id: String
    public var initiatorID: String
    public var initiator: String
    public var sessionID: String
    public var threadRootID: String?
    public var threadParentID: String?
    public var taskID: String?
    public var taskStep: Int?
    public var provider: String
    public var providerName: String
    public var model: String
    public var client: String
    /// The rule that let it pass or refused it.
    public var policy: String
    public var credentialHint: String?
    /// `open`, `completed`, `failed`, `cut`, `client_left`, `refused`, `replayed` or `unknown`.
    public var status: String
    public var httpStatus: Int?
    public var error: String?
    public var stopReason: String?
    public var streamed: Bool
    public var prompt: String?
    public var usage: TokenUsage?
    public var costNanoDollars: Int64?
    public var startedAt: Date
    public var endedAt: Date?
    /// From its arrival to the first content of a streamed answer, or to the head of any other; nil: not recorded, or none came.
    public var firstTokenMilliseconds: Int64?
    /// The call whose answer was given again, of one that is `replayed`.
    public var replayOf: String?
    /// The call that it was a second attempt at: what it cost is what the attempt that lost did.
    public var hedgeOf: String?
    /// What is kept: `full`, `hashed` or `none`.
    public var contentMode: String?
    /// Which of the client's own agents made it; absent: the main one, or one that the client does not name.
    public var agentID: String?
    public var parentAgentID: String?
    public var agentType: String?
    /// What the client says that the call is for, e.g. `subagent` or `compaction`.
    public var requestClass: String?
    public var clientHints: ClientHints?
    /// In the list of one only, as is all that follows.
    ///
    /// `complete`, `partial`, `hashed`, `none`, `removed` (by retention) or `absent`.
    public var content: String?
    public var contentRemovedAt: Date?
    /// By which it was made, and its name, where it is there.
    public var tokenID: String?
    public var token: String?
    /// Of the request as it was sent, and of the answer; in hexadecimal, absent where the content mode is `none`.
    public var requestHash: String?
    public var requestBytes: Int64?
    public var answerHash: String?
    public var answerBytes: Int64?
    public var answer: String?
    public var thoughts: String?
    public var toolUsages: [ToolUsage]?
    public var ledger: [LedgerRow]?
    /// Where there was more than one.
    public var attempts: [CallAttempt]?
    /// Set when the call found the prompt cache of its session lost.
    public var cacheCollapse: CacheCollapse?
    /// What rules about content found, and decided about tools; nil: nothing.
    public var findings: [ContentFinding]?

    public init(
        id: String, initiatorID: String, initiator: String, sessionID: String, threadRootID: String? = nil,
        threadParentID: String? = nil, taskID: String? = nil, taskStep: Int? = nil, provider: String, providerName: String,
        model: String, client: String, policy: String, credentialHint: String? = nil, status: String, httpStatus: Int? = nil,
        error: String? = nil, stopReason: String? = nil, streamed: Bool, prompt: String? = nil, usage: TokenUsage? = nil,
        costNanoDollars: Int64? = nil, startedAt: Date, endedAt: Date? = nil, contentMode: String? = nil, answer: String? = nil,
        thoughts: String? = nil,
        toolUsages: [ToolUsage]? = nil, ledger: [LedgerRow]? = nil
    ) {
        self.id = id
        self.initiatorID = initiatorID
        self.initiator = initiator
        self.sessionID = sessionID
        self.threadRootID = threadRootID
        self.threadParentID = threadParentID
        self.taskID = taskID
        self.taskStep = taskStep
        self.provider = provider
        self.providerName = providerName
        self.model = model
        self.client = client
        self.policy = policy
        self.credentialHint = credentialHint
        self.status = status
        self.httpStatus = httpStatus
        self.error = error
        self.stopReason = stopReason
        self.streamed = streamed
        self.prompt = prompt
        self.usage = usage
        self.costNanoDollars = costNanoDollars
        self.startedAt = startedAt
        self.endedAt = endedAt
        self.contentMode = contentMode
        self.answer = answer
        self.thoughts = thoughts
        self.toolUsages = toolUsages
        self.ledger = ledger
    }
}

public struct InterceptionList: Codable, Sendable, Equatable {
    public var interceptions: [Interception]
    public var after: String?

    public init(interceptions: [Interception], after: String? = nil) {
        self.interceptions = interceptions
        self.after = after
    }
}

/// Calls that belong together: those of one client session, or of one conversation.
public struct AISession: Codable, Sendable, Equatable {
    public var id: String
    public var initiatorID: String
    public var initiator: String
    public var client: String
    public var providers: [String]
    public var models: [String]
    /// The first one.
    public var prompt: String?
    public var interceptions: Int
    public var usage: TokenUsage
    public var costNanoDollars: Int64
    public var startedAt: Date
    public var endedAt: Date?

    public init(
        id: String, initiatorID: String, initiator: String, client: String, providers: [String], models: [String],
        prompt: String? = nil, interceptions: Int, usage: TokenUsage, costNanoDollars: Int64, startedAt: Date, endedAt: Date? = nil
    ) {
        self.id = id
        self.initiatorID = initiatorID
        self.initiator = initiator
        self.client = client
        self.providers = providers
        self.models = models
        self.prompt = prompt
        self.interceptions = interceptions
        self.usage = usage
        self.costNanoDollars = costNanoDollars
        self.startedAt = startedAt
        self.endedAt = endedAt
    }
}

public struct AISessionList: Codable, Sendable, Equatable {
    public var sessions: [AISession]
    public var after: String?

    public init(sessions: [AISession], after: String? = nil) {
        self.sessions = sessions
        self.after = after
    }
}

/// `GET /api/v2/ai-gateway/usage`: spend of a month by user, provider and model.
public struct UsageRow: Codable, Sendable, Equatable {
    public var userID: String
    public var username: String
    public var provider: String
    public var model: String
    public var calls: Int
    public var usage: TokenUsage
    public var costNanoDollars: Int64

    public init(
        userID: String, username: String, provider: String, model: String, calls: Int, usage: TokenUsage, costNanoDollars: Int64
    ) {
        self.userID = userID
        self.username = username
        self.provider = provider
        self.model = model
        self.calls = calls
        self.usage = usage
        self.costNanoDollars = costNanoDollars
    }
}

public struct UsageReport: Codable, Sendable, Equatable {
    /// E.g. `2026-11`, UTC.
    public var period: String
    public var rows: [UsageRow]
    public var costNanoDollars: Int64
    /// One's own.
    public var budget: AIBudget?

    public init(period: String, rows: [UsageRow], costNanoDollars: Int64, budget: AIBudget? = nil) {
        self.period = period
        self.rows = rows
        self.costNanoDollars = costNanoDollars
        self.budget = budget
    }
}

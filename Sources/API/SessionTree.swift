import Foundation

/// What Claude Code tells of a call beside it. Claims of the client.
public struct ClientHints: Codable, Sendable, Equatable {
    public struct ToolTime: Codable, Sendable, Equatable {
        public var tool: String
        public var milliseconds: Int
    }

    /// Why the conversation is being shortened.
    public var compaction: String?
    public var contextCompacted: Bool?
    /// How long the tools ran since the call before.
    public var toolMilliseconds: [ToolTime]?
}

/// `GET /api/v2/ai-gateway/sessions/{session}/tree`: what a session cost, by thread, and by the agents that worked for each.
public struct AISessionTree: Codable, Sendable, Equatable {
    public var id: String
    public var interceptions: Int
    public var usage: TokenUsage
    public var costNanoDollars: Int64
    /// The oldest first.
    public var threads: [Thread]

    public init(id: String, interceptions: Int, usage: TokenUsage, costNanoDollars: Int64, threads: [Thread]) {
        self.id = id
        self.interceptions = interceptions
        self.usage = usage
        self.costNanoDollars = costNanoDollars
        self.threads = threads
    }

    /// What the main agent did for one prompt, and who worked for it.
    public struct Thread: Codable, Sendable, Equatable {
        /// Its first call's.
        public var id: String
        public var initiatorID: String
        public var initiator: String
        public var client: String
        public var prompt: String?
        public var requestClass: String?
        /// The main agent's own calls.
        public var interceptions: Int
        public var usage: TokenUsage
        public var costNanoDollars: Int64
        /// With those of all agents below.
        public var totalInterceptions: Int
        public var totalCostNanoDollars: Int64
        public var startedAt: Date
        public var endedAt: Date?
        public var agents: [Agent]

        public init(
            id: String, initiatorID: String, initiator: String, client: String, prompt: String? = nil, requestClass: String? = nil,
            interceptions: Int, usage: TokenUsage, costNanoDollars: Int64, totalInterceptions: Int, totalCostNanoDollars: Int64,
            startedAt: Date, endedAt: Date? = nil, agents: [Agent]
        ) {
            self.id = id
            self.initiatorID = initiatorID
            self.initiator = initiator
            self.client = client
            self.prompt = prompt
            self.requestClass = requestClass
            self.interceptions = interceptions
            self.usage = usage
            self.costNanoDollars = costNanoDollars
            self.totalInterceptions = totalInterceptions
            self.totalCostNanoDollars = totalCostNanoDollars
            self.startedAt = startedAt
            self.endedAt = endedAt
            self.agents = agents
        }
    }

    /// A client's own agent in a thread.
    public struct Agent: Codable, Sendable, Equatable {
        public var id: String
        public var parentAgentID: String?
        public var agentType: String?
        public var requestClass: String?
        /// The root of its first calls.
        public var threadRootID: String
        public var prompt: String?
        /// Its own.
        public var interceptions: Int
        public var usage: TokenUsage
        public var costNanoDollars: Int64
        /// With those of all agents below.
        public var totalInterceptions: Int
        public var totalCostNanoDollars: Int64
        public var startedAt: Date
        public var endedAt: Date?
        public var agents: [Agent]

        public init(
            id: String, parentAgentID: String? = nil, agentType: String? = nil, requestClass: String? = nil, threadRootID: String,
            prompt: String? = nil, interceptions: Int, usage: TokenUsage, costNanoDollars: Int64, totalInterceptions: Int,
            totalCostNanoDollars: Int64, startedAt: Date, endedAt: Date? = nil, agents: [Agent]
        ) {
            self.id = id
            self.parentAgentID = parentAgentID
            self.agentType = agentType
            self.requestClass = requestClass
            self.threadRootID = threadRootID
            self.prompt = prompt
            self.interceptions = interceptions
            self.usage = usage
            self.costNanoDollars = costNanoDollars
            self.totalInterceptions = totalInterceptions
            self.totalCostNanoDollars = totalCostNanoDollars
            self.startedAt = startedAt
            self.endedAt = endedAt
            self.agents = agents
        }
    }
}

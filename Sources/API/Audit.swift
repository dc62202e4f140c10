import Foundation

public struct AuditEntry: Codable, Sendable, Equatable {
    public var chain: String
    public var n: Int64
    public var kind: String
    public var subject: String
    public var digest: String
    public var at: Date

    public init(chain: String, n: Int64, kind: String, subject: String, digest: String, at: Date) {
        self.chain = chain
        self.n = n
        self.kind = kind
        self.subject = subject
        self.digest = digest
        self.at = at
    }
}

public struct AuditEntryList: Codable, Sendable, Equatable {
    public var entries: [AuditEntry]
    public var after: String?

    public init(entries: [AuditEntry], after: String? = nil) {
        self.entries = entries
        self.after = after
    }
}

/// Something that was changed, on record: by whom, what, how.
public struct AuditFact: Codable, Sendable, Equatable {
    public var id: String
    /// What happened, such as `user.roles`, `token.create`, `budget.set`.
    public var kind: String
    /// The name or id of what it happened to.
    public var subject: String
    /// Absent: nobody who was logged in.
    public var actorID: String?
    public var actor: String?
    public var details: [String: String]
    public var at: Date

    public init(
        id: String, kind: String, subject: String, actorID: String? = nil, actor: String? = nil, details: [String: String], at: Date
    ) {
        self.id = id
        self.kind = kind
        self.subject = subject
        self.actorID = actorID
        self.actor = actor
        self.details = details
        self.at = at
    }
}

public struct AuditFactList: Codable, Sendable, Equatable {
    public var facts: [AuditFact]
    public var after: String?

    public init(facts: [AuditFact], after: String? = nil) {
        self.facts = facts
        self.after = after
    }
}

/// A signed statement of where all chains stood.
public struct AuditCheckpoint: Codable, Sendable, Equatable {
    public var number: Int64
    public var at: Date
    /// How many entries stand behind it, in all chains. Not signed: the heads in the body are.
    public var entries: Int64
    public var digest: String
    public var signature: String
    public var publicKey: String
    public var keyID: String
    /// The exact text that is signed.
    public var body: String
    public var heads: [AuditChainHead]

    public init(
        number: Int64, at: Date, entries: Int64, digest: String, signature: String, publicKey: String, keyID: String, body: String,
        heads: [AuditChainHead]
    ) {
        self.number = number
        self.at = at
        self.entries = entries
        self.digest = digest
        self.signature = signature
        self.publicKey = publicKey
        self.keyID = keyID
        self.body = body
        self.heads = heads
    }
}

public struct AuditChainHead: Codable, Sendable, Equatable {
    public var chain: String
    public var n: Int64
    public var digest: String

    public init(chain: String, n: Int64, digest: String) {
        self.chain = chain
        self.n = n
        self.digest = digest
    }
}

public struct AuditCheckpointList: Codable, Sendable, Equatable {
    public var checkpoints: [AuditCheckpoint]
    public var after: String?

    public init(checkpoints: [AuditCheckpoint], after: String? = nil) {
        self.checkpoints = checkpoints
        self.after = after
    }
}

/// One thing that is not as it was recorded.
public struct AuditProblem: Codable, Sendable, Equatable {
    public var kind: String
    public var chain: String?
    public var n: Int64?
    public var subject: String?
    public var message: String

    public init(kind: String, chain: String? = nil, n: Int64? = nil, subject: String? = nil, message: String) {
        self.kind = kind
        self.chain = chain
        self.n = n
        self.subject = subject
        self.message = message
    }
}

/// `POST /api/v2/audit/verify`, with exported checkpoints as the anchor, or none.
public struct VerifyAuditRequest: Codable, Sendable, Equatable {
    public var anchor: [AuditCheckpoint]?

    public init(anchor: [AuditCheckpoint]? = nil) {
        self.anchor = anchor
    }
}

public struct AuditVerification: Codable, Sendable, Equatable {
    public var ok: Bool
    public var entries: Int64
    public var chains: [AuditChainHead]
    public var checkpoints: Int64
    public var lastCheckpoint: AuditCheckpoint?
    /// Contents and rows that retention removed, on record; absent: none.
    public var removedByRetention: Int64?
    public var problems: [AuditProblem]
    /// How many are not listed.
    public var moreProblems: Int

    public init(
        ok: Bool, entries: Int64, chains: [AuditChainHead], checkpoints: Int64, lastCheckpoint: AuditCheckpoint? = nil,
        removedByRetention: Int64? = nil, problems: [AuditProblem], moreProblems: Int
    ) {
        self.ok = ok
        self.entries = entries
        self.chains = chains
        self.checkpoints = checkpoints
        self.lastCheckpoint = lastCheckpoint
        self.removedByRetention = removedByRetention
        self.problems = problems
        self.moreProblems = moreProblems
    }
}

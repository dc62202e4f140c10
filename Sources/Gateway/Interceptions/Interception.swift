import Core
import Foundation
import ModelAPI

/// Whose calls may be read: all of an organization by admins and auditors, one's own by everybody.
package struct InterceptionScope: Sendable {
    package var organization: OrganizationID
    /// Nil: everybody's.
    package var user: UserID?

    package static func own(_ principal: Principal) -> Self { Self(organization: principal.organization, user: principal.user) }
    package static func all(_ principal: Principal) -> Self { Self(organization: principal.organization, user: nil) }
}

/// Which calls are asked for; nil fields do not narrow.
package struct InterceptionFilter: Sendable {
    package var initiator: UserID?
    /// The name of a group: of those who are in it now.
    package var group: String?
    /// The provider's type.
    package var provider: String?
    package var providerName: String?
    package var model: String?
    package var client: String?
    package var session: String?
    package var task: TaskID?
    /// A rule's id, as calls name it.
    package var policy: String?
    package var decision: Decision?
    /// One of `statuses`.
    package var status: String?
    /// A tool that the model asked for.
    package var tool: String?
    /// Words of prompt and answer, as web searches are written: `two words`, `"a phrase"`, `-without`, `this or that`.
    package var text: String?
    /// What an attempt cost, both ends included.
    package var costAtLeast: NanoDollars?
    package var costAtMost: NanoDollars?
    package var startedAfter: Date?
    package var startedBefore: Date?

    package init() {}

    package enum Decision: String, Sendable, CaseIterable { case allowed, refused }

    package static let statuses = ["open", "completed", "failed", "cut", "client_left", "refused", "replayed", "unknown"]
}

/// A call as lists show it.
package struct Interception: Sendable {
    package var id: InterceptionID
    package var initiator: UserID
    package var username: String
    package var session: String
    package var threadRoot: UUID?
    package var threadParent: UUID?
    package var task: TaskID?
    package var taskStep: Int?
    package var provider: String
    package var providerName: String
    /// The client's: what recorded bodies are written in.
    package var modelProtocol: String
    package var model: String
    package var client: String
    package var policy: String
    package var credentialHint: String?
    package var requestID: String
    package var status: String
    package var httpStatus: Int?
    package var error: String?
    package var stopReason: String?
    package var isStreamed: Bool
    package var startedAt: Date
    package var endedAt: Date?
    /// From its arrival to the first content of its stream, or to the head of an answer that is none; nil: not recorded, or there was none.
    package var firstToken: Duration?
    package var prompt: String?
    /// Sums over its ledger rows.
    package var usage: Usage
    package var cost: NanoDollars
    package var hold: NanoDollars
    package var contentMode: ContentMode
    package var agent: ClientAgent?
    /// The call whose answer was given again.
    package var replayOf: InterceptionID?
    /// The call that it was a second attempt at; what it cost is what the attempt that lost did.
    package var hedgeOf: InterceptionID?
}

/// A booked attempt.
package struct LedgerRow: Sendable {
    package var attempt: Int
    /// Who is paid, and for which model.
    package var provider: String
    package var model: String
    package var state: String
    package var usage: Usage
    package var hold: NanoDollars
    package var cost: NanoDollars
    package var overrun: NanoDollars
    package var price: String
    package var settledAt: Date
}

/// A call with what was said in it.
package struct InterceptionDetail: Sendable {
    package struct Tool: Sendable {
        package var id: String
        package var name: String
        package var input: String
        package var result: String?
        package var isError: Bool?
    }

    package var interception: Interception
    package var ledger: [LedgerRow]
    package var tools: [Tool]
    package var answer: String
    package var thoughts: String
    /// `complete`, `partial` after a crash or while it runs, `hashed` or `none` by the content mode, `removed` by retention, `absent` when it
    /// was never written.
    package var content: String
    /// Set when the call found the prompt cache of its session lost.
    package var cacheCollapse: CacheCollapse?
    /// What rules about content found, and decided about tools.
    package var findings: [ContentFinding] = []
    /// Where there was more than one.
    package var attempts: [AttemptLine] = []
    /// When retention removed it.
    package var removedAt: Date?
}

/// Calls that belong together.
package struct AISession: Sendable {
    package var id: String
    package var initiator: UserID
    package var username: String
    package var client: String
    package var providers: [String]
    package var models: [String]
    package var interceptions: Int
    package var usage: Usage
    package var cost: NanoDollars
    package var prompt: String?
    package var startedAt: Date
    package var endedAt: Date?
}

/// Spend of a month.
package struct UsageLine: Sendable {
    package var user: UserID
    package var username: String
    package var provider: String
    package var model: String
    package var calls: Int
    package var usage: Usage
    package var cost: NanoDollars
}

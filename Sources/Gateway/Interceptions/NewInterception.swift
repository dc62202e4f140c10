import AuditProof
import Core
import Foundation
import ModelAPI

/// What is known of a call before it is sent: the row that must be on record before the first byte of an answer is released.
struct NewInterception: Sendable {
    var id: InterceptionID
    var organization: OrganizationID
    var initiator: UserID
    var token: TokenID?
    var task: TaskID?
    var taskStep: Int?
    var replica: ReplicaID
    var requestID: String
    var provider: String
    var providerName: String
    var modelProtocol: String
    var route: String
    var model: String
    var isStreamed: Bool
    var client: String
    var clientSession: String?
    var agent: ClientAgent?
    /// The tool call whose result this call brings to the model.
    var toolCall: String?
    /// The call that asked for the tool, where that is known without asking the database.
    var thread: ThreadMemory.Place?
    var credentialHint: String?
    var policy: String
    var price: String?
    var requestHash: Data
    var requestSize: Int
    var promptHash: Data
    var contentMode = ContentMode.full
    /// The call whose answer it is given again: it is not sent.
    var replayOf: InterceptionID?
    /// The call that it is a second attempt at.
    var hedgeOf: InterceptionID?
    /// Why the gateway itself refused it; it was then never sent.
    var refusal: AppError?
    /// What rules about content found in the prompt.
    var findings: [ContentFinding] = []

    /// What the database adds when it is inserted.
    struct Placement: Sendable {
        var hold: NanoDollars
        var threadParent: UUID?
        var threadRoot: UUID?
        /// Microseconds since 1970.
        var startedAt: Int64
    }

    func digest(_ placement: Placement, refusal: AppError?) -> Data {
        InterceptionDigest.canonical(
            .init(
                id: id, organization: organization, initiator: initiator, token: token, task: task, taskStep: taskStep,
                replica: replica,
                requestID: requestID, provider: provider, providerName: providerName, modelProtocol: modelProtocol, route: route,
                model: model, isStreamed: isStreamed, client: client, clientSession: clientSession, toolCall: toolCall,
                threadParent: placement.threadParent, threadRoot: placement.threadRoot, credentialHint: credentialHint,
                policy: policy,
                price: price, hold: placement.hold.value, requestHash: requestHash, requestSize: Int64(requestSize),
                promptHash: promptHash, startedAt: placement.startedAt, refusal: refusal?.code.rawValue,
                contentMode: contentMode.rawValue, agent: agent, replayOf: replayOf, hedgeOf: hedgeOf)
        ).digest
    }
}

/// The columns of an interception that never change, in the order in which its digest takes them.
struct InterceptionDigest {
    var id: InterceptionID
    var organization: OrganizationID
    var initiator: UserID
    var token: TokenID?
    var task: TaskID?
    var taskStep: Int?
    var replica: ReplicaID
    var requestID: String
    var provider: String
    var providerName: String
    var modelProtocol: String
    var route: String
    var model: String
    var isStreamed: Bool
    var client: String
    var clientSession: String?
    var toolCall: String?
    var threadParent: UUID?
    var threadRoot: UUID?
    var credentialHint: String?
    var policy: String
    var price: String?
    var hold: Int64
    var requestHash: Data
    var requestSize: Int64
    var promptHash: Data
    var startedAt: Int64
    /// The code of the refusal; nil when the call was sent.
    var refusal: String?
    /// Nil for rows from before modes were recorded.
    var contentMode: String?
    /// Nil for those that name none, and then not in the digest.
    var agent: ClientAgent?
    /// Of a repeat.
    var replayOf: InterceptionID?
    /// Of a second attempt.
    var hedgeOf: InterceptionID?

    static func canonical(_ row: InterceptionDigest) -> Canonical {
        let form =
            row.hedgeOf != nil
            ? "interception-4"
            : row.replayOf != nil ? "interception-3" : row.contentMode != nil ? "interception-2" : "interception-1"
        var canonical = Canonical(row.agent == nil ? form : form + "-agent")
        canonical.add(row.id)
        canonical.add(row.organization)
        canonical.add(row.initiator)
        canonical.add(row.token)
        canonical.add(row.task)
        canonical.add(row.taskStep)
        canonical.add(row.replica)
        canonical.add(row.requestID)
        canonical.add(row.provider)
        canonical.add(row.providerName)
        canonical.add(row.modelProtocol)
        canonical.add(row.route)
        canonical.add(row.model)
        canonical.add(row.isStreamed)
        canonical.add(row.client)
        canonical.add(row.clientSession)
        canonical.add(row.toolCall)
        canonical.add(row.threadParent)
        canonical.add(row.threadRoot)
        canonical.add(row.credentialHint)
        canonical.add(row.policy)
        canonical.add(row.price)
        canonical.add(row.hold)
        canonical.add(row.requestHash)
        canonical.add(row.requestSize)
        canonical.add(row.promptHash)
        canonical.add(row.startedAt)
        canonical.add(row.refusal)
        if row.contentMode != nil || row.replayOf != nil || row.hedgeOf != nil { canonical.add(row.contentMode) }
        if row.replayOf != nil || row.hedgeOf != nil { canonical.add(row.replayOf) }
        if let call = row.hedgeOf { canonical.add(call) }
        if let agent = row.agent {
            canonical.add(agent.id)
            canonical.add(agent.parent)
            canonical.add(agent.type)
            canonical.add(agent.requestClass)
            canonical.add(agent.hints)
        }
        return canonical
    }
}

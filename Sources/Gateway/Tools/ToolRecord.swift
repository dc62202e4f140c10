import AuditProof
import Core
import Crypto
import Foundation

/// A call of a tool as it is put on record before it leaves.
struct ToolCallRecord: Sendable {
    var id = UUID()
    var organization: OrganizationID
    var user: UserID
    var token: TokenID?
    var task: TaskID?
    var session: UUID?
    var client: String
    var serverID: UUID
    var server: String
    var tool: String
    var toolUseID: String?
    var decision: String
    var rule: String
    /// JSON.
    var arguments: String
    var requestID: String
    var replica: ReplicaID
    var findings: [ContentFinding] = []

    var facts: Facts {
        Facts(
            id: id, organization: organization, user: user, token: token, task: task, session: session, client: client,
            serverID: serverID, server: server, tool: tool, toolUseID: toolUseID, decision: decision, rule: rule,
            argumentsHash: ToolContent.hash(arguments), argumentsSize: arguments.utf8.count, requestID: requestID, replica: replica)
    }

    /// What the digest covers; content by its hash.
    struct Facts: Sendable {
        var id: UUID
        var organization: OrganizationID
        var user: UserID
        var token: TokenID?
        var task: TaskID?
        var session: UUID?
        var client: String
        var serverID: UUID
        var server: String
        var tool: String
        var toolUseID: String?
        var decision: String
        var rule: String
        var argumentsHash: Data
        var argumentsSize: Int
        var requestID: String
        var replica: ReplicaID

        /// - Parameter at: when the call began, in microseconds since 1970.
        func canonical(at: Int64) -> Canonical {
            var canonical = Canonical("tool-1")
            canonical.add(id)
            canonical.add(organization)
            canonical.add(user)
            canonical.add(token)
            canonical.add(task)
            canonical.add(session)
            canonical.add(client)
            canonical.add(serverID)
            canonical.add(server)
            canonical.add(tool)
            canonical.add(toolUseID)
            canonical.add(decision)
            canonical.add(rule)
            canonical.add(argumentsHash)
            canonical.add(argumentsSize)
            canonical.add(requestID)
            canonical.add(replica)
            canonical.add(at)
            return canonical
        }
    }
}

/// What came of a call, put on record before it is told.
struct ToolResultRecord: Sendable {
    enum Status: String, Sendable {
        case ok
        /// The tool itself says that it failed.
        case toolError = "tool_error"
        /// There is no result.
        case error
        case timeout
        case cancelled
        /// Never sent.
        case refused
    }

    var call: UUID
    var organization: OrganizationID
    var status: Status
    /// JSON; empty when there is none.
    var result: String
    var error: String?
    var duration: Duration
    var findings: [ContentFinding] = []

    var microseconds: Int64 { duration.components.seconds * 1_000_000 + duration.components.attoseconds / 1_000_000_000_000 }

    var facts: Facts {
        Facts(
            call: call, organization: organization, status: status.rawValue, resultHash: ToolContent.hash(result),
            resultSize: result.utf8.count, error: error, microseconds: microseconds)
    }

    struct Facts: Sendable {
        var call: UUID
        var organization: OrganizationID
        var status: String
        var resultHash: Data
        var resultSize: Int
        var error: String?
        var microseconds: Int64

        /// - Parameter at: when the call ended, in microseconds since 1970.
        func canonical(at: Int64) -> Canonical {
            var canonical = Canonical("tool-result-1")
            canonical.add(call)
            canonical.add(organization)
            canonical.add(status)
            canonical.add(resultHash)
            canonical.add(resultSize)
            canonical.add(error)
            canonical.add(microseconds)
            canonical.add(at)
            return canonical
        }
    }
}

enum ToolContent {
    static func hash(_ text: String) -> Data { Data(SHA256.hash(data: Array(text.utf8))) }
}

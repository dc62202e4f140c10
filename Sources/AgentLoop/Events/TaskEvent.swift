import Core
import Foundation
import ModelAPI

/// One committed fact of a task's history. Numbers of a task have no gaps; a viewer is a cursor over them.
package struct TaskEvent: Sendable, Equatable {
    package enum Kind: String, Sendable, Codable, CaseIterable {
        /// A person wrote while the model was busy; `user_message` follows when the model gets it.
        case messageQueued = "message_queued"
        case userMessage = "user_message"
        case workspaceReady = "workspace_ready"
        case stepStarted = "step_started"
        case thinking
        case text
        case toolCall = "tool_call"
        case toolResult = "tool_result"
        case cost
        /// The loop said something to the model.
        case remark
        case stepFailed = "step_failed"
        case contextPruned = "context_pruned"
        /// Goes on by itself at `until`.
        case waiting
        case paused
        case resumed
        case interruptRequested = "interrupt_requested"
        case interrupted
        /// The turn's work is a commit on the task's branch.
        case committed
        case completed
        case failed
    }

    package var seq: Int
    package var kind: Kind
    package var at: Date
    package var payload: Payload

    package init(seq: Int, kind: Kind, at: Date, payload: Payload) {
        self.seq = seq
        self.kind = kind
        self.at = at
        self.payload = payload
    }

    /// What an event says; which fields are set follows from its kind. Stored and sent as JSON with these names.
    package struct Payload: Sendable, Equatable, Codable {
        package var text: String?
        package var by: String?
        package var messageID: UUID?
        package var step: Int?
        package var attempt: Int?
        package var model: String?
        package var interceptionID: InterceptionID?
        package var call: Int?
        package var tool: String?
        package var arguments: String?
        package var isError: Bool?
        /// Of text and thinking: the answer broke off; the model does not see it again.
        package var isPartial: Bool?
        package var exitCode: Int?
        package var milliseconds: Int?
        package var reason: String?
        package var until: Date?
        package var cost: NanoDollars?
        package var totalCost: NanoDollars?
        package var usage: Usage?
        package var stopReason: String?
        package var workspaceID: WorkspaceID?
        package var branch: String?
        package var commit: String?
        package var changedFiles: Int?
        package var additions: Int?
        package var deletions: Int?
        package var bytes: Int?

        package init() {}

        enum CodingKeys: String, CodingKey {
            case text, by, step, attempt, model, call, tool, arguments, milliseconds, reason, until, cost, usage, branch, commit
            case additions, deletions, bytes
            case messageID = "message_id"
            case interceptionID = "interception_id"
            case isError = "is_error"
            case isPartial = "is_partial"
            case exitCode = "exit_code"
            case totalCost = "total_cost"
            case stopReason = "stop_reason"
            case workspaceID = "workspace_id"
            case changedFiles = "changed_files"
        }
    }
}

/// An event that is to be committed; the store numbers it.
package struct NewEvent: Sendable, Equatable {
    package var kind: TaskEvent.Kind
    package var payload: TaskEvent.Payload

    package init(_ kind: TaskEvent.Kind, _ fill: (inout TaskEvent.Payload) -> Void = { _ in }) {
        self.kind = kind
        payload = .init()
        fill(&payload)
    }
}

enum EventCoding {
    static func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func value<Value: Decodable>(_ text: String, as type: Value.Type = Value.self) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        return try decoder.decode(Value.self, from: Data(text.utf8))
    }
}

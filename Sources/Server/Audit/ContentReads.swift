import Core
import Foundation
import Gateway

/// Puts on record that somebody reads what others said to models. It is on disk before anything is shown.
struct ContentReads: Sendable {
    let facts: AuditFacts
    let principal: Principal
    let requestID: String

    /// A call with all of its content.
    func read(_ call: RecordedCall) async throws {
        guard call.initiator != principal.user, call.contentMode == .full else { return }
        try await facts.record(
            principal, kind: "content.read", subject: call.id.description,
            ["initiator": call.username, "request_id": requestID, "session": call.session])
    }

    /// Prompts in a list: one fact for the part of the list that was shown.
    func listed(_ calls: [RecordedCall]) async throws {
        let others = calls.filter { $0.initiator != principal.user && $0.prompt != nil }
        try await listed("content.list", others.map(\.id.description), "calls")
    }

    /// Sessions are shown with their first prompt.
    func listed(_ sessions: [RecordedSession]) async throws {
        let others = sessions.filter { $0.initiator != principal.user && $0.prompt != nil }
        try await listed("content.list", others.map(\.id), "sessions")
    }

    /// Threads are shown with their prompts.
    func read(_ tree: SessionTree, session: String) async throws {
        guard tree.threads.contains(where: { $0.first.initiator != principal.user }) else { return }
        try await listed("content.list", [session], "sessions")
    }

    private func listed(_ kind: String, _ ids: [String], _ noun: String) async throws {
        if ids.isEmpty { return }
        try await facts.record(
            principal, kind: kind, subject: "\(ids.count) \(noun)",
            [noun: ids.joined(separator: " "), "request_id": requestID])
    }
}

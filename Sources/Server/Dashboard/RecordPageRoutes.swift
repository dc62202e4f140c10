import API
import Core
import Foundation
import Hummingbird

/// Pages on which what the models did is looked through: sessions, calls, the audit record.
struct RecordPageRoutes: Sendable {
    let responder: PageResponder
    let interceptions: InterceptionDesk
    let audit: AuditDesk
    let accessURL: String

    func register(on table: RouteTable) {
        let failed = responder.failed
        table.page(.get, "/ai-gateway/sessions", .readInterceptions, failed: failed, sessions)
        table.page(.get, "/ai-gateway/sessions/{session}", .readInterceptions, failed: failed, session)
        table.page(.get, "/ai-gateway/interceptions/{interception}", .readInterceptions, failed: failed, call)
        table.page(.get, "/audit", .readAudit, failed: failed, record)
    }

    @Sendable private func sessions(_ call: Call) async throws -> Response {
        let page = try PageRequest(limit: 50, after: call.incoming.query("after"))
        let list = try await interceptions.sessions(call.principal, .init(), page, requestID: call.incoming.requestID)
        return try responder.page(
            SessionsPage(frame: frame("AI sessions", call), list: list, accessURL: accessURL, now: Date()))
    }

    @Sendable private func session(_ call: Call) async throws -> Response {
        let id = try call.incoming.path("session")
        var query = InterceptionDesk.Query()
        query.session = id
        let sessions = try await interceptions.sessions(
            call.principal, query, try PageRequest(limit: 1), requestID: call.incoming.requestID)
        guard let session = sessions.sessions.first else {
            throw AppError(.notFound, "There is no session '\(id.prefix(80))' with a model call in it yet.")
        }
        let calls = try await interceptions.list(
            call.principal, query, try PageRequest(limit: 500), requestID: call.incoming.requestID
        ).interceptions
        return try responder.page(
            SessionPage(frame: frame("Session", call), session: session, calls: calls.reversed(), now: Date()))
    }

    @Sendable private func call(_ call: Call) async throws -> Response {
        let found = try await interceptions.get(
            call.principal, try call.incoming.id("interception"), requestID: call.incoming.requestID)
        return try responder.page(InterceptionPage(frame: frame("Model call", call), call: found))
    }

    @Sendable private func record(_ call: Call) async throws -> Response {
        let verification = try await audit.verify(anchor: nil)
        let checkpoints = try await audit.checkpoints(try PageRequest(limit: 10)).checkpoints
        let entries = try await audit.entries(try PageRequest(limit: 30)).entries
        return try responder.page(
            AuditPage(
                frame: PageFrame(title: "Audit", principal: call.principal, section: .audit), verification: verification,
                checkpoints: checkpoints, entries: entries, now: Date()))
    }

    private func frame(_ title: String, _ call: Call) -> PageFrame {
        PageFrame(title: title, principal: call.principal, section: .sessions)
    }
}

import API
import Core
import Foundation
import Gateway

/// What is kept of calls, how long, and what is held, as the API shows it.
package struct RetentionDesk: Sendable {
    let gateway: Gateway
    let users: UserService

    package func rules(_ principal: Principal) async throws -> API.AuditRules { try await gateway.rules.show(principal).shown }

    package func setMode(_ principal: Principal, _ wanted: SetContentModeRequest) async throws -> API.AuditRules {
        guard let mode = ContentMode(rawValue: wanted.contentMode) else {
            throw AppError(
                .badRequest, "content_mode is '\(wanted.contentMode.prefix(40))'; it can be 'full', 'hashed' or 'none'.",
                field: "content_mode")
        }
        return try await gateway.rules.set(principal, mode: mode).shown
    }

    package func setRetention(_ principal: Principal, _ wanted: SetRetentionRequest) async throws -> API.AuditRules {
        try await gateway.rules.set(principal, contentDays: wanted.contentDays, recordDays: wanted.recordDays).shown
    }

    package func holds(_ principal: Principal) async throws -> AuditHoldList {
        AuditHoldList(holds: try await gateway.legalHolds.list(principal).map(\.shown))
    }

    package func addHold(_ principal: Principal, _ wanted: AddAuditHoldRequest) async throws -> AuditHold {
        guard let kind = LegalHold.Kind(rawValue: wanted.kind) else {
            throw AppError(
                .badRequest, "kind is '\(wanted.kind.prefix(40))'; it can be 'user', 'session' or 'task'.", field: "kind")
        }
        var (subject, name) = (wanted.subject, wanted.subject)
        switch kind {
        case .user:
            let user = try await users.get(principal, wanted.subject)
            (subject, name) = (user.id.description, user.username)
        case .task:
            guard let task = try await gateway.legalHolds.task(principal, wanted.subject) else {
                throw AppError(.notFound, "There is no task '\(wanted.subject.prefix(80))'.", field: "subject")
            }
            (subject, name) = (task.id.description, task.name)
        case .session:
            guard let session = try await gateway.legalHolds.session(principal, wanted.subject) else {
                throw AppError(
                    .notFound, "There is no call of a session '\(wanted.subject.prefix(80))'; slipway usage session ID shows one.",
                    field: "subject")
            }
            (subject, name) = (session, session)
        }
        return try await gateway.legalHolds.add(principal, kind, subject: subject, name: name, reason: wanted.reason).shown
    }

    package func removeHold(_ principal: Principal, id: UUID) async throws {
        try await gateway.legalHolds.remove(principal, id: id)
    }
}

extension RecordRules {
    fileprivate var shown: API.AuditRules {
        API.AuditRules(contentMode: contentMode.rawValue, contentDays: contentDays, recordDays: recordDays)
    }
}

extension LegalHold {
    fileprivate var shown: AuditHold {
        AuditHold(
            id: id.uuidString.lowercased(), kind: kind.rawValue, subject: subject, name: name, reason: reason,
            createdByID: creator.description, createdAt: createdAt)
    }
}

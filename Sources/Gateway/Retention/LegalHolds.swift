import Core
import Foundation
import Postgres

/// Keeps the calls of somebody, of a session or of a task from being removed.
package struct LegalHold: Sendable {
    package enum Kind: String, Sendable, CaseIterable { case user, session, task }

    package var id: UUID
    package var kind: Kind
    /// An id.
    package var subject: String
    package var name: String
    package var reason: String
    package var creator: UserID
    package var createdAt: Date

    /// SQL for whether the interception `i` is held.
    static let condition = """
        EXISTS (SELECT FROM audit_legal_holds h WHERE h.organization_id = i.organization_id AND (
            (h.kind = 'user' AND h.subject = i.initiator_id::text) OR (h.kind = 'session' AND h.subject = i.session_id)
            OR (h.kind = 'task' AND h.subject = i.task_id::text)))
        """
}

package struct LegalHoldService: Sendable {
    let pool: PostgresPool
    let facts: AuditFacts

    package func list(_ principal: Principal) async throws -> [LegalHold] {
        try await pool.query(
            """
            SELECT id, kind, subject, name, reason, created_by, created_at FROM audit_legal_holds
            WHERE organization_id = \(principal.organization) ORDER BY created_at, id LIMIT 1000
            """
        ).map(Self.hold)
    }

    /// What is held already keeps its hold, with the reason that it has.
    package func add(
        _ principal: Principal, _ kind: LegalHold.Kind, subject: String, name: String, reason: String
    ) async throws -> LegalHold {
        guard (1...1000).contains(reason.count) else {
            throw AppError(.badRequest, "reason has \(reason.count) characters; expected 1 to 1000.", field: "reason")
        }
        guard (1...512).contains(subject.utf8.count) else {
            throw AppError(.badRequest, "subject is empty or longer than 512 bytes.", field: "subject")
        }
        return try await facts.record { connection in
            let added = try await connection.query(
                """
                INSERT INTO audit_legal_holds (id, organization_id, kind, subject, name, reason, created_by)
                VALUES (\(UUID()), \(principal.organization), \(kind.rawValue), \(subject), \(name), \(reason), \(principal.user))
                ON CONFLICT (organization_id, kind, subject) DO NOTHING RETURNING id
                """)
            let hold = try await connection.query(
                """
                SELECT id, kind, subject, name, reason, created_by, created_at FROM audit_legal_holds
                WHERE organization_id = \(principal.organization) AND kind = \(kind.rawValue) AND subject = \(subject)
                """
            ).map(Self.hold)[0]
            return (hold, added.isEmpty ? [] : [try Self.fact(principal, "audit.hold", hold)])
        }
    }

    /// What it kept goes with the next sweep, if its time is over.
    package func remove(_ principal: Principal, id: UUID) async throws {
        try await facts.record { connection in
            let removed = try await connection.query(
                """
                DELETE FROM audit_legal_holds WHERE organization_id = \(principal.organization) AND id = \(id)
                RETURNING id, kind, subject, name, reason, created_by, created_at
                """
            ).map(Self.hold)
            guard let hold = removed.first else { throw AppError(.notFound, "There is no such hold.", field: "hold") }
            // The sweep went by what was held: it begins anew.
            try await connection.execute(
                """
                UPDATE audit_rules SET content_swept = 'epoch', record_swept = 'epoch' WHERE organization_id = \(principal.organization)
                """)
            return ((), [try Self.fact(principal, "audit.release", hold)])
        }
    }

    private static func fact(_ principal: Principal, _ kind: String, _ hold: LegalHold) throws -> AuditFacts.Fact {
        try AuditFacts.Fact(
            organization: principal.organization, actor: principal.user, kind: kind, subject: "\(hold.kind.rawValue)/\(hold.name)",
            ["kind": hold.kind.rawValue, "subject": hold.subject, "reason": hold.reason])
    }

    private static func hold(_ row: Row) throws -> LegalHold {
        LegalHold(
            id: try row["id"], kind: LegalHold.Kind(rawValue: try row["kind"]) ?? .user, subject: try row["subject"],
            name: try row["name"], reason: try row["reason"], creator: try row["created_by"], createdAt: try row["created_at"])
    }
}

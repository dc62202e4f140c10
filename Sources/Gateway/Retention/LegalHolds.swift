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

    /// Each hold is its own: what several hold is free when the last of them ends.
    ///
    /// - Throws: `notFound` for a session or task of which there is no call and which is not there.
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
            let hold = try await connection.query(
                """
                INSERT INTO audit_legal_holds (id, organization_id, kind, subject, name, reason, created_by)
                VALUES (\(UUID()), \(principal.organization), \(kind.rawValue), \(subject.storable), \(name.storable),
                        \(reason.storable), \(principal.user))
                RETURNING id, kind, subject, name, reason, created_by, created_at
                """
            ).map(Self.hold)[0]
            return (hold, [try Self.fact(principal, "audit.hold", hold)])
        }
    }

    /// - Returns: nil when there is no call of the session.
    package func session(_ principal: Principal, _ id: String) async throws -> String? {
        try await pool.query(
            """
            SELECT session_id FROM ai_interceptions
            WHERE organization_id = \(principal.organization) AND session_id = \(id.storable) LIMIT 1
            """
        ).first.map { try $0["session_id"] }
    }

    /// By its name or id; one that is gone is found by its calls.
    package func task(_ principal: Principal, _ text: String) async throws -> (id: TaskID, name: String)? {
        let id = TaskID(text)
        return try await pool.query(
            """
            SELECT id, name FROM tasks
            WHERE organization_id = \(principal.organization) AND (id = \(id?.uuid)::uuid OR name = \(text.storable))
            UNION ALL
            (SELECT task_id, task_id::text FROM ai_interceptions
             WHERE organization_id = \(principal.organization) AND task_id = \(id?.uuid)::uuid LIMIT 1)
            LIMIT 1
            """
        ).first.map { (try $0["id"], try $0["name"]) }
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
            [
                "hold": hold.id.uuidString.lowercased(), "kind": hold.kind.rawValue, "subject": hold.subject, "reason": hold.reason,
            ])
    }

    private static func hold(_ row: Row) throws -> LegalHold {
        LegalHold(
            id: try row["id"], kind: LegalHold.Kind(rawValue: try row["kind"]) ?? .user, subject: try row["subject"],
            name: try row["name"], reason: try row["reason"], creator: try row["created_by"], createdAt: try row["created_at"])
    }
}

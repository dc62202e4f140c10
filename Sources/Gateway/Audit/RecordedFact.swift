import Core
import Foundation
import Postgres

/// A fact as auditors read it.
package struct RecordedFact: Sendable {
    package var id: UUID
    package var kind: String
    package var subject: String
    package var actor: UserID?
    package var actorName: String?
    package var details: [String: String]
    package var at: Date
}

extension AuditStore {
    /// Newest first; the cursor is opaque. `kind` takes `user.create` or all of `user`, `actor` a name or an id.
    package func facts(
        _ principal: Principal, kind: String?, subject: String?, actor: String?, _ page: PageRequest
    ) async throws -> Page<RecordedFact> {
        var place: (at: Int64, id: UUID)?
        if let after = page.after {
            let parts = after.split(separator: "_")
            guard parts.count == 2, let at = Int64(parts[0]), let id = UUID(uuidString: String(parts[1])) else {
                throw AppError(.badRequest, "after is not a cursor of this list; take it from the answer before.", field: "after")
            }
            place = (at, id)
        }
        let rows = try await pool.query(
            """
            SELECT f.id, f.kind, f.subject, f.actor_id, u.username, f.body, f.at, \(unsafeSQL: microseconds("f.at")) AS micros
            FROM audit_facts f LEFT JOIN users u ON u.id = f.actor_id
            WHERE f.organization_id = \(principal.organization)
                AND (\(kind)::text IS NULL OR f.kind = \(kind) OR split_part(f.kind, '.', 1) = \(kind))
                AND (\(subject)::text IS NULL OR f.subject = \(subject))
                AND (\(actor)::text IS NULL OR u.username = \(actor) OR f.actor_id::text = \(actor))
                AND (\(place?.at)::bigint IS NULL
                     OR (f.at, f.id) < ('epoch'::timestamptz + \(place?.at)::bigint * interval '1 microsecond', \(place?.id)))
            ORDER BY f.at DESC, f.id DESC LIMIT \(page.limit + 1)
            """)
        let items = try rows.prefix(page.limit).map { row in
            let body = try row["body", as: String.self]
            return try RecordedFact(
                id: row["id"], kind: row["kind"], subject: row["subject"], actor: row["actor_id"], actorName: row["username"],
                details: (try? JSONDecoder().decode([String: String].self, from: Data(body.utf8))) ?? ["unreadable": body],
                at: row["at"])
        }
        var next: String?
        if rows.count > page.limit, let last = items.last {
            next = "\(try rows[page.limit - 1]["micros", as: Int64.self])_\(last.id.uuidString.lowercased())"
        }
        return Page(items: Array(items), next: next)
    }
}

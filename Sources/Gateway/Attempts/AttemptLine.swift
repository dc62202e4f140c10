import AuditProof
import Core
import Foundation
import Postgres

/// One of several attempts of a call, for the record.
package struct AttemptLine: Sendable, Equatable {
    /// 1 is the first.
    package var attempt: Int
    package var provider: String
    package var model: String
    package var credentialHint: String
    /// Nil: no head of an answer came.
    package var httpStatus: Int?
    /// Why it was not the last one; nil for the one whose answer was handed out.
    package var error: String?
    /// Milliseconds since the first attempt began.
    package var beganMilliseconds: Int64
    package var endedMilliseconds: Int64

    func digest(interception: InterceptionID, organization: OrganizationID, at: Int64) -> Data {
        canonical(interception: interception, organization: organization, at: at).digest
    }

    func canonical(interception: InterceptionID, organization: OrganizationID, at: Int64) -> Canonical {
        var canonical = Canonical("attempt-1")
        canonical.add(interception)
        canonical.add(attempt)
        canonical.add(organization)
        canonical.add(provider)
        canonical.add(model)
        canonical.add(credentialHint)
        canonical.add(httpStatus)
        canonical.add(error)
        canonical.add(beganMilliseconds)
        canonical.add(endedMilliseconds)
        canonical.add(at)
        return canonical
    }
}

extension AttemptLine {
    init(_ row: Row) throws {
        self.init(
            attempt: try row["attempt"], provider: try row["provider"], model: try row["model"],
            credentialHint: try row["credential_hint"], httpStatus: try row["http_status"], error: try row["error"],
            beganMilliseconds: try row["began_ms"], endedMilliseconds: try row["ended_ms"])
    }
}

/// Writes attempts with the settlement of their call.
enum AttemptRows {
    struct Row {
        var interception: InterceptionID
        var organization: OrganizationID
        var line: AttemptLine

        var subject: String { "\(interception)/\(line.attempt)" }
    }

    static func of(_ settlements: [Settlement]) -> [Row] {
        settlements.flatMap { settlement in
            settlement.attempts.map { Row(interception: settlement.interception, organization: settlement.organization, line: $0) }
        }
    }

    static func entries(_ rows: [Row], at: Int64) -> [AuditEntry] {
        rows.map { row in
            AuditEntry(
                .attempt, subject: row.subject,
                digest: row.line.digest(interception: row.interception, organization: row.organization, at: at))
        }
    }

    static func insert(_ rows: [Row]) -> Query {
        """
        INSERT INTO ai_attempts
            (interception_id, attempt, organization_id, provider, model, credential_hint, http_status, error, began_ms, ended_ms)
        SELECT * FROM unnest(\(rows.map(\.interception.uuid)), \(rows.map(\.line.attempt)), \(rows.map(\.organization.uuid)),
                             \(rows.map(\.line.provider)), \(rows.map(\.line.model)), \(rows.map(\.line.credentialHint)),
                             \(rows.map(\.line.httpStatus)), \(rows.map(\.line.error)), \(rows.map(\.line.beganMilliseconds)),
                             \(rows.map(\.line.endedMilliseconds)))
        """
    }

    /// What the database has now, in canonical bytes, by subject.
    static func canonicals(_ subjects: [String], _ connection: PostgresConnection) async throws -> [String: Canonical] {
        if subjects.isEmpty { return [:] }
        let ids = subjects.compactMap { UUID(uuidString: String($0.prefix { $0 != "/" })) }
        let rows = try await connection.query(
            "SELECT *, \(unsafeSQL: microseconds("at")) AS moment FROM ai_attempts WHERE interception_id = ANY(\(ids))")
        return try Dictionary(
            uniqueKeysWithValues: rows.map { row in
                let id = try row["interception_id", as: InterceptionID.self]
                let line = try AttemptLine(row)
                return (
                    "\(id)/\(line.attempt)",
                    line.canonical(interception: id, organization: try row["organization_id"], at: try row["moment"])
                )
            })
    }
}

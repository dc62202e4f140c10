import Core
import Postgres

/// What an organization keeps of calls, and for how long.
package struct RecordRules: Sendable, Equatable {
    package var contentMode = ContentMode.full
    /// 1…36,500; nil: for ever.
    package var contentDays: Int?
    /// Not fewer than `contentDays`; nil: for ever.
    package var recordDays: Int?

    static func contentModes(_ connection: PostgresConnection) async throws -> [OrganizationID: ContentMode] {
        let rows = try await connection.query("SELECT organization_id, content_mode FROM audit_rules")
        return Dictionary(
            uniqueKeysWithValues: try rows.map {
                (try $0["organization_id"], ContentMode(rawValue: try $0["content_mode"]) ?? .full)
            })
    }

    static func read(_ connection: PostgresConnection, _ organization: OrganizationID) async throws -> RecordRules {
        let rows = try await connection.query(
            "SELECT content_mode, content_days, record_days FROM audit_rules WHERE organization_id = \(organization)")
        guard let row = rows.first else { return RecordRules() }
        return RecordRules(
            contentMode: ContentMode(rawValue: try row["content_mode"]) ?? .full, contentDays: try row["content_days"],
            recordDays: try row["record_days"])
    }
}

/// Reads and sets them; each change is a fact of the transaction that makes it.
package struct RecordRuleService: Sendable {
    let pool: PostgresPool
    let settings: SettingsCache
    let facts: AuditFacts

    package func show(_ principal: Principal) async throws -> RecordRules {
        try await pool.withConnection { try await RecordRules.read($0, principal.organization) }
    }

    /// In force everywhere within two seconds, for calls that begin then.
    package func set(_ principal: Principal, mode: ContentMode) async throws -> RecordRules {
        let rules = try await facts.record { connection in
            try await connection.execute(
                """
                INSERT INTO audit_rules (organization_id, content_mode) VALUES (\(principal.organization), \(mode.rawValue))
                ON CONFLICT (organization_id) DO UPDATE SET content_mode = excluded.content_mode
                """)
            let fact = try AuditFacts.Fact(
                organization: principal.organization, actor: principal.user, kind: "audit.content-mode", subject: mode.rawValue,
                ["mode": mode.rawValue])
            return (try await RecordRules.read(connection, principal.organization), [fact])
        }
        try await settings.refresh()
        return rules
    }

    /// - Throws: `badRequest` for days outside 1…36,500, and for content that would outlive its record.
    package func set(_ principal: Principal, contentDays: Int?, recordDays: Int?) async throws -> RecordRules {
        for (name, days) in [("content_days", contentDays), ("record_days", recordDays)] {
            if let days, !(1...36_500).contains(days) {
                throw AppError(.badRequest, "\(name) is \(days); it must be from 1 to 36500, or absent for no end.", field: name)
            }
        }
        if let contentDays, let recordDays, recordDays < contentDays {
            throw AppError(
                .badRequest,
                "record_days (\(recordDays)) is less than content_days (\(contentDays)): content goes with its record.",
                field: "record_days")
        }
        return try await facts.record { connection in
            try await connection.execute(
                """
                INSERT INTO audit_rules (organization_id, content_days, record_days)
                VALUES (\(principal.organization), \(contentDays), \(recordDays))
                ON CONFLICT (organization_id) DO UPDATE SET content_days = excluded.content_days, record_days = excluded.record_days
                """)
            let fact = try AuditFacts.Fact(
                organization: principal.organization, actor: principal.user, kind: "audit.retention", subject: "retention",
                [
                    "content_days": contentDays.map(String.init) ?? "for ever",
                    "record_days": recordDays.map(String.init) ?? "for ever",
                ])
            return (try await RecordRules.read(connection, principal.organization), [fact])
        }
    }
}

import AuditProof
import Core
import Foundation
import Postgres

/// Compares accounts and tokens, as they are, with what was last recorded about each.
struct IdentityCheck {
    let connection: PostgresConnection

    private static let pageSize = 1000

    /// The newest state of each, by id.
    private struct Recorded {
        var users: [String: [String: String]] = [:]
        var tokens: [String: [String: String]] = [:]
        var hasBaseline = false
    }

    func run(_ report: inout AuditReport) async throws {
        let recorded = try await recorded()
        let users = try await connection.query("SELECT \(unsafeSQL: IdentityFacts.userColumns) FROM users u")
        compare(
            try users.map(IdentityFacts.userState), with: recorded.users, "user", isComplete: recorded.hasBaseline, &report)
        let tokens = try await connection.query("SELECT \(unsafeSQL: IdentityFacts.tokenColumns) FROM tokens t")
        compare(
            try tokens.map(IdentityFacts.tokenState), with: recorded.tokens, "token", isComplete: recorded.hasBaseline, &report)
    }

    private func recorded() async throws -> Recorded {
        var recorded = Recorded()
        var place: (at: Int64, id: UUID)?
        while true {
            let page = try await connection.query(
                """
                SELECT id, kind, body, micros FROM
                    (SELECT id, kind, body, \(unsafeSQL: microseconds("at")) AS micros FROM audit_facts
                     WHERE kind LIKE 'user.%' OR kind LIKE 'token.%' OR kind = \(IdentityFacts.baseline)) f
                WHERE \(place?.at)::bigint IS NULL OR (micros, id) > (\(place?.at), \(place?.id))
                ORDER BY micros, id LIMIT \(Self.pageSize)
                """)
            for row in page {
                place = (try row["micros"], try row["id"])
                let kind = try row["kind", as: String.self]
                recorded.hasBaseline = recorded.hasBaseline || kind == IdentityFacts.baseline
                // A body that was changed is named by its own entry.
                let body = try row["body", as: String.self]
                guard let state = try? JSONDecoder().decode([String: String].self, from: Data(body.utf8)), let id = state["id"]
                else { continue }
                if kind.hasPrefix("user.") { recorded.users[id] = state } else { recorded.tokens[id] = state }
            }
            if page.count < Self.pageSize { return recorded }
        }
    }

    private func compare(
        _ rows: [[String: String]], with recorded: [String: [String: String]], _ noun: String, isComplete: Bool,
        _ report: inout AuditReport
    ) {
        var missing = recorded
        for row in rows {
            guard let id = row["id"] else { continue }
            let name = "\(noun) \(row["username"] ?? row["name"] ?? "") (\(id))"
            guard let state = missing.removeValue(forKey: id) else {
                if isComplete { report.add(.inserted, subject: id, "The \(name) is not on record: it was put in.") }
                continue
            }
            let changed = Set(row.keys).union(state.keys).filter { row[$0] != state[$0] }.sorted()
            if changed.isEmpty { continue }
            let what = changed.map { key in
                ["password", "key"].contains(key) ? key : "\(key) (recorded: \(state[key] ?? "none"), now: \(row[key] ?? "none"))"
            }
            report.add(
                .changed, subject: id, "The \(name) was changed without a record: \(what.joined(separator: ", ")).")
        }
        for (id, state) in missing {
            report.add(.removed, subject: id, "The \(noun) \(state["username"] ?? state["name"] ?? "") (\(id)) is missing.")
        }
    }
}

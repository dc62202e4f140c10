import AuditProof
import Core
import Crypto
import Foundation
import Postgres

/// Compares the versions of policies with what was recorded of each: its hash, or that it deleted the policy.
struct PolicyCheck {
    let connection: PostgresConnection

    func run(_ report: inout AuditReport) async throws {
        var recorded: [String: String] = [:]
        let facts = try await connection.query(
            "SELECT organization_id, subject, body FROM audit_facts WHERE kind IN ('policy.put', 'policy.delete')")
        for row in facts {
            // A body that was changed is named by its own entry; facts of model policies have no version.
            let body = try row["body", as: String.self]
            guard let details = try? JSONDecoder().decode([String: String].self, from: Data(body.utf8)),
                let version = details["version"], let hash = details["sha256"]
            else { continue }
            recorded[try Self.name(row["organization_id"], row["subject"], version)] = hash
        }
        let rows = try await connection.query("SELECT organization_id, name, version, source FROM ai_policy_versions")
        for row in rows {
            let version = try row["version", as: Int.self]
            let name = try row["name", as: String.self]
            let place = "version \(version) of the policy '\(name)'"
            guard let hash = recorded.removeValue(forKey: try Self.name(row["organization_id"], name, "\(version)")) else {
                report.add(.inserted, subject: name, "The \(place) is not on record: it was put in.")
                continue
            }
            if try Self.hash(row["source"]) != hash {
                report.add(.changed, subject: name, "The text of \(place) was changed without a record.")
            }
        }
        for key in recorded.keys.sorted() {
            let parts = key.split(separator: "/")
            report.add(
                .removed, subject: String(parts[1]), "The version \(parts[2]) of the policy '\(parts[1])' is missing.")
        }
    }

    /// As facts have it.
    static func hash(_ source: String?) -> String { source.map { Data(SHA256.hash(data: Data($0.utf8))).hex } ?? "none" }

    private static func name(_ organization: OrganizationID, _ name: String, _ version: String) -> String {
        "\(organization)/\(name)/\(version)"
    }
}

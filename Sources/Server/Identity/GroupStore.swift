import Core
import Foundation
import Gateway
import Postgres

/// A group with its members.
package struct GroupRecord: Sendable {
    package var id: UUID
    package var name: String
    package var members: [String]
    package var createdAt: Date
}

/// The SQL of groups. Every change is put on record by its own transaction.
struct GroupStore: Sendable {
    let pool: PostgresPool
    let facts: AuditFacts

    /// By name; all, or the one of the name.
    func list(_ organization: OrganizationID, name: String? = nil) async throws -> [GroupRecord] {
        try await pool.query(
            """
            SELECT g.id, g.name, g.created_at,
                   coalesce(array_agg(u.username ORDER BY u.username) FILTER (WHERE u.id IS NOT NULL), ARRAY[]::text[]) AS members
            FROM groups g LEFT JOIN group_members m ON m.group_id = g.id LEFT JOIN users u ON u.id = m.user_id
            WHERE g.organization_id = \(organization) AND (\(name)::text IS NULL OR g.name = \(name))
            GROUP BY g.id ORDER BY g.name LIMIT \(GroupService.most)
            """
        ).map { row in
            GroupRecord(
                id: try row["id"], name: try row["name"], members: try row["members"], createdAt: try row["created_at"])
        }
    }

    /// - Returns: false when there are too many.
    func create(_ principal: Principal, name: String) async throws -> Bool {
        try await facts.record { connection in
            _ = try await connection.query("SELECT id FROM organizations WHERE id = \(principal.organization) FOR UPDATE")
            let count: Int = try await connection.query(
                "SELECT count(*) AS n FROM groups WHERE organization_id = \(principal.organization)")[0]["n"]
            if count >= GroupService.most { return (false, []) }
            try await connection.execute(
                "INSERT INTO groups (id, organization_id, name) VALUES (\(ID<GroupRecord>().uuid), \(principal.organization), \(name))"
            )
            return (true, [try fact(principal, "group.create", name, [:])])
        }
    }

    /// With its budgets, which nobody could name any more.
    ///
    /// - Returns: false when there is none.
    func delete(_ principal: Principal, name: String) async throws -> Bool {
        try await facts.record { connection in
            let deleted = try await connection.query(
                "DELETE FROM groups WHERE organization_id = \(principal.organization) AND name = \(name) RETURNING id")
            guard let id = try deleted.first.map({ try $0["id", as: UUID.self] }) else { return (false, []) }
            let budgets = try await connection.query(
                """
                UPDATE ai_budget_rules SET cap = NULL, updated_at = now()
                WHERE organization_id = \(principal.organization) AND subject_kind = 'group' AND subject_id = \(id) AND cap IS NOT NULL
                RETURNING period
                """
            ).map { row in
                try AuditFacts.Fact(
                    organization: principal.organization, actor: principal.user, kind: "budget.remove", subject: "group:\(name)",
                    ["period": try row["period"], "id": id.uuidString.lowercased()])
            }
            return (true, budgets + [try fact(principal, "group.delete", name, [:])])
        }
    }

    /// What is so already is no change, and is not recorded.
    func setMember(_ principal: Principal, _ group: GroupRecord, _ user: UserRecord, _ isMember: Bool) async throws {
        try await facts.record { connection in
            let count =
                isMember
                ? try await connection.execute(
                    """
                    INSERT INTO group_members (group_id, user_id) SELECT id, \(user.id) FROM groups WHERE id = \(group.id)
                    ON CONFLICT DO NOTHING
                    """)
                : try await connection.execute("DELETE FROM group_members WHERE group_id = \(group.id) AND user_id = \(user.id)")
            let kind = isMember ? "group.add" : "group.remove"
            return (
                (),
                count == 1 ? [try fact(principal, kind, group.name, ["user": user.id.description, "member": user.username])] : []
            )
        }
    }

    private func fact(_ principal: Principal, _ kind: String, _ name: String, _ details: [String: String]) throws -> AuditFacts.Fact
    {
        try AuditFacts.Fact(organization: principal.organization, actor: principal.user, kind: kind, subject: name, details)
    }
}

import Core
import Foundation
import NIOConcurrencyHelpers
import Policies
import Postgres

/// The SQL of policies, their versions, and the groups that they name. Versions are only ever added.
struct PolicyStore: Sendable {
    let pool: PostgresPool
    private let modelPolicies = ModelPolicyStore()
    private let parsed = ParsedPolicies()

    init(pool: PostgresPool) { self.pool = pool }

    /// Of all organizations.
    func all(_ connection: PostgresConnection) async throws -> PolicySnapshot {
        let rows = try await connection.query(Self.newest("true"))
        let found = try rows.map { row in try stored(row) }
        parsed.keep(Set(found.map(\.source)))
        var snapshot = PolicySnapshot(
            stored: found, models: try await modelPolicies.all(connection), builtIn: try BuiltInPolicy.readChecked())
        let members = try await connection.query(
            "SELECT m.user_id, g.name FROM group_members m JOIN groups g ON g.id = m.group_id")
        for row in members { snapshot.groups[try row["user_id"], default: []].insert(try row["name"]) }
        for row in try await connection.query("SELECT id, name FROM organizations") {
            snapshot.organizations[try row["id"]] = try row["name"]
        }
        return snapshot
    }

    /// As they were in force at a time.
    func asOf(_ time: Date, _ organization: OrganizationID) async throws -> [StoredPolicy] {
        try await pool.query(Self.newest("organization_id = \(organization) AND created_at <= \(time)")).map { try stored($0) }
    }

    private static func newest(_ condition: Query) -> Query {
        """
        SELECT organization_id, name, version, source, origin, created_at FROM (
            SELECT DISTINCT ON (organization_id, name) * FROM ai_policy_versions WHERE \(condition)
            ORDER BY organization_id, name, version DESC
        ) newest WHERE source IS NOT NULL ORDER BY organization_id, name
        """
    }

    private func stored(_ row: Row) throws -> StoredPolicy {
        let name: String = try row["name"]
        let source: String = try row["source"]
        return StoredPolicy(
            organization: try row["organization_id"], name: name, version: try row["version"], source: source,
            origin: StoredPolicy.Origin(rawValue: try row["origin"]) ?? .api, createdAt: try row["created_at"],
            object: parsed.object(name, source))
    }

    // MARK: Versions

    /// Newest first.
    func versions(_ organization: OrganizationID, _ name: String) async throws -> [PolicyVersion] {
        try await pool.query(
            """
            SELECT v.name, v.version, v.source, v.origin, v.created_at, u.username
            FROM ai_policy_versions v LEFT JOIN users u ON u.id = v.actor_id
            WHERE v.organization_id = \(organization) AND v.name = \(name) ORDER BY v.version DESC LIMIT 1000
            """
        ).map { row in try version(row) }
    }

    func version(_ organization: OrganizationID, _ name: String, _ number: Int) async throws -> PolicyVersion? {
        try await pool.query(
            """
            SELECT v.name, v.version, v.source, v.origin, v.created_at, u.username
            FROM ai_policy_versions v LEFT JOIN users u ON u.id = v.actor_id
            WHERE v.organization_id = \(organization) AND v.name = \(name) AND v.version = \(number)
            """
        ).first.map { row in try version(row) }
    }

    private func version(_ row: Row) throws -> PolicyVersion {
        PolicyVersion(
            name: try row["name"], version: try row["version"], source: try row["source"],
            origin: StoredPolicy.Origin(rawValue: try row["origin"]) ?? .api, actor: try row["username"],
            createdAt: try row["created_at"])
    }

    /// Who changes policies of an organization waits for whoever else does.
    func lock(_ connection: PostgresConnection, _ organization: OrganizationID) async throws {
        _ = try await connection.query("SELECT id FROM organizations WHERE id = \(organization) FOR UPDATE")
    }

    /// The newest version; nil when there was none yet.
    func newest(
        _ connection: PostgresConnection, _ organization: OrganizationID, _ name: String
    ) async throws -> (version: Int, source: String?, origin: StoredPolicy.Origin)? {
        try await connection.query(
            """
            SELECT version, source, origin FROM ai_policy_versions WHERE organization_id = \(organization) AND name = \(name)
            ORDER BY version DESC LIMIT 1
            """
        ).first.map { row in
            (try row["version"], try row["source"], StoredPolicy.Origin(rawValue: try row["origin"]) ?? .api)
        }
    }

    /// Names that are in force.
    func names(
        _ connection: PostgresConnection, _ organization: OrganizationID, _ origin: StoredPolicy.Origin? = nil
    ) async throws -> [String] {
        let rows = try await connection.query(Self.newest("organization_id = \(organization)"))
        return try rows.filter { row in try origin == nil || row["origin", as: String.self] == origin?.rawValue }
            .map { row in try row["name"] }
    }

    /// - Parameter source: nil deletes it.
    func add(
        _ connection: PostgresConnection, _ organization: OrganizationID, _ name: String, version: Int, source: String?,
        origin: StoredPolicy.Origin, actor: UserID?
    ) async throws {
        try await connection.execute(
            """
            INSERT INTO ai_policy_versions (organization_id, name, version, source, origin, actor_id)
            VALUES (\(organization), \(name), \(version), \(source), \(origin.rawValue), \(actor))
            """)
    }
}

/// Sources that were read already: settings are read again whenever a token or a price changes.
private final class ParsedPolicies: Sendable {
    private let objects = NIOLockedValueBox<[String: PolicyObject]>([:])

    /// What cannot be read (it was stored by another version of the server) refuses everything, and says so.
    func object(_ name: String, _ source: String) -> PolicyObject {
        if let known = objects.withLockedValue({ $0[source] }) { return known }
        let object: PolicyObject
        do {
            object = try PolicyReader.read(source, isStored: true)
        } catch {
            var rule = PolicyRule(id: "unreadable", effect: .deny)
            rule.reason =
                "The policy '\(name)' cannot be read by this version of the server, so every call is refused: \(error.problems.first?.description ?? "")."
            object = PolicyObject(name: name, order: 0, calls: .deny, rules: [rule])
        }
        objects.withLockedValue { $0[source] = object }
        return object
    }

    func keep(_ sources: Set<String>) { objects.withLockedValue { $0 = $0.filter { sources.contains($0.key) } } }
}

extension BuiltInPolicy {
    static func readChecked() throws -> PolicyObject {
        do throws(PolicyFileError) { return try read() } catch {
            throw AppError(.internal, error.appError("The built-in policy", field: "policies").message)
        }
    }
}

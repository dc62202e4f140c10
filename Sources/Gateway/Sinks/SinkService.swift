import Core
import Foundation
import Postgres

/// Adds, lists and removes sinks; each change is a fact of the transaction that makes it.
package struct SinkService: Sendable {
    let pool: PostgresPool
    let keys: KeyRing
    let facts: AuditFacts
    let delivery: SinkDelivery

    static let columns =
        "id, organization_id, name, url, allow_private, sealed, failures, last_error, delivered_at, created_at"

    static func place(_ id: UUID) -> KeyRing.Place {
        KeyRing.Place(table: "audit_sinks", column: "sealed", row: id.uuidString.lowercased())
    }

    static func sink(_ row: Row, _ keys: KeyRing) throws -> AuditSink {
        let id = try row["id", as: UUID.self]
        let secret = try keys.open(row["sealed"], at: place(id))
        return AuditSink(
            id: id, organization: try row["organization_id"], name: try row["name"], url: try row["url"],
            allowsPrivateAddresses: try row["allow_private"], secret: Secret(String(decoding: secret, as: UTF8.self)),
            failures: try row["failures"], lastError: try row["last_error"], deliveredAt: try row["delivered_at"],
            createdAt: try row["created_at"])
    }

    package func list(_ principal: Principal) async throws -> [AuditSink] {
        try await pool.query(
            """
            SELECT \(unsafeSQL: Self.columns) FROM audit_sinks WHERE organization_id = \(principal.organization) ORDER BY name LIMIT 1000
            """
        ).map { try Self.sink($0, keys) }
    }

    /// - Parameter fromStart: sends also what is on record already.
    /// - Returns: the sink, and the secret, which is shown this once.
    package func add(
        _ principal: Principal, name: String, url: String, allowPrivate: Bool, fromStart: Bool
    ) async throws -> (AuditSink, secret: String) {
        try ProviderRules.check(name: name, longest: 64)
        _ = try AuditSink.target(of: url)
        let id = UUID()
        var generator = SystemRandomNumberGenerator()
        let secret = Data((0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }).hex
        let sealed = try keys.seal(Array(secret.utf8), at: Self.place(id))
        let sink = try await facts.record { connection in
            let rows = try await connection.query(
                """
                INSERT INTO audit_sinks (id, organization_id, name, url, allow_private, sealed)
                VALUES (\(id), \(principal.organization), \(name), \(url), \(allowPrivate), \(sealed))
                ON CONFLICT (organization_id, name) DO NOTHING RETURNING \(unsafeSQL: Self.columns)
                """)
            guard let row = rows.first else {
                throw AppError(.conflict, "There is a sink named '\(name)' already.", field: "name")
            }
            let sink = try Self.sink(row, keys)
            if !fromStart {
                try await connection.execute(
                    """
                    INSERT INTO audit_cursors (follower, chain, n)
                    SELECT \(sink.follower), c.id, coalesce((SELECT max(e.n) FROM audit_entries e WHERE e.chain = c.id), 0) FROM audit_chains c
                    """)
            }
            let fact = try AuditFacts.Fact(
                organization: principal.organization, actor: principal.user, kind: "audit.sink-add", subject: name,
                ["url": url, "allow_private": "\(allowPrivate)", "from_start": "\(fromStart)"])
            return (sink, [fact])
        }
        return (sink, secret)
    }

    package func remove(_ principal: Principal, name: String) async throws {
        try await facts.record { connection in
            let rows = try await connection.query(
                """
                DELETE FROM audit_sinks WHERE organization_id = \(principal.organization) AND name = \(name)
                RETURNING \(unsafeSQL: Self.columns)
                """)
            guard let row = rows.first else { throw AppError(.notFound, "There is no sink named '\(name)'.", field: "name") }
            let sink = try Self.sink(row, keys)
            try await connection.execute("DELETE FROM audit_cursors WHERE follower = \(sink.follower)")
            let fact = try AuditFacts.Fact(
                organization: principal.organization, actor: principal.user, kind: "audit.sink-remove", subject: name,
                ["url": sink.url])
            return ((), [fact])
        }
    }

    /// Sends one line that says it is a test, now.
    ///
    /// - Throws: what the sink answered or why it was not reached.
    package func test(_ principal: Principal, name: String) async throws {
        guard let sink = try await list(principal).first(where: { $0.name == name }) else {
            throw AppError(.notFound, "There is no sink named '\(name)'.", field: "name")
        }
        try await delivery.test(sink)
    }
}

import Core
import Crypto
import Foundation

/// One step of the schema: a numbered SQL file.
package struct Migration: Sendable, Equatable {
    package var number: Int
    package var name: String
    package var sql: String

    package init(number: Int, name: String, sql: String) {
        self.number = number
        self.name = name
        self.sql = sql
    }

    var checksum: Data { Data(SHA256.hash(data: Data(sql.utf8))) }
    var title: String { "\(String(repeating: "0", count: max(0, 4 - "\(number)".count)))\(number)_\(name)" }
}

/// Brings a database to the schema this build knows: forward only, each migration in its own transaction, one server at a time.
package struct Migrator: Sendable {
    private let pool: PostgresPool
    /// Any number that nothing else of Slipway locks.
    private static let lock: Int64 = 0x511_9DA7

    package init(pool: PostgresPool) { self.pool = pool }

    /// - Throws: `unavailable` when the schema is newer than this build, or a migration that ran was changed since; `internal` naming
    ///   the migration that failed.
    package func migrate(_ migrations: [Migration]) async throws {
        let known = migrations.sorted { $0.number < $1.number }
        if let twice = zip(known, known.dropFirst()).first(where: { $0.number == $1.number }) {
            throw AppError(.internal, "Two migrations have the number \(twice.0.number): \(twice.0.title) and \(twice.1.title).")
        }
        try await pool.withConnection { connection in
            _ = try await connection.query("SELECT pg_advisory_lock(\(Self.lock))")
            do {
                try await apply(known, on: connection)
            } catch {
                connection.channel.submitClose()  // releases the lock, whatever state the session is in
                throw error
            }
            _ = try await connection.query("SELECT pg_advisory_unlock(\(Self.lock))")
        }
    }

    private func apply(_ known: [Migration], on connection: PostgresConnection) async throws {
        try await connection.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                number int PRIMARY KEY, name text NOT NULL, checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
            """)
        let applied = try await connection.query("SELECT number, name, checksum FROM schema_migrations ORDER BY number").map {
            (
                number: try $0["number", as: Int.self], name: try $0["name", as: String.self],
                checksum: try $0["checksum", as: Data.self]
            )
        }
        for migration in try Self.pending(known, applied: applied) { try await apply(migration, on: connection) }
    }

    /// What is left to do, in order.
    static func pending(_ known: [Migration], applied: [(number: Int, name: String, checksum: Data)]) throws -> [Migration] {
        let last = applied.last?.number ?? 0
        let newest = known.last?.number ?? 0
        if last > newest {
            throw AppError(
                .unavailable,
                "The database has schema \(last), this server knows schemas up to \(newest). Start a newer release of Slipway.")
        }
        let byNumber = Dictionary(uniqueKeysWithValues: known.map { ($0.number, $0) })
        for entry in applied {
            guard let migration = byNumber[entry.number] else {
                throw AppError(
                    .unavailable, "The database has migration \(entry.number) (\(entry.name)), which this server does not know.")
            }
            guard migration.checksum == entry.checksum else {
                throw AppError(.unavailable, "Migration \(migration.title) was changed after it ran on this database.")
            }
        }
        let done = Set(applied.map(\.number))
        if let late = known.first(where: { $0.number < last && !done.contains($0.number) }) {
            throw AppError(.unavailable, "Migration \(late.title) is missing from a database that has schema \(last) already.")
        }
        return known.filter { $0.number > last }
    }

    private func apply(_ migration: Migration, on connection: PostgresConnection) async throws {
        do {
            try await connection.withTransaction { transaction in
                try await transaction.script(migration.sql)
                try await transaction.execute(
                    """
                    INSERT INTO schema_migrations (number, name, checksum)
                    VALUES (\(migration.number), \(migration.name), \(migration.checksum))
                    """)
            }
        } catch let error as PostgresError {
            throw AppError(.internal, "Migration \(migration.title) failed: \(error.message)", detail: "\(error)", cause: error)
        }
    }
}

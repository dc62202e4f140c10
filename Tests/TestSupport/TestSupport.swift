import Core
import Foundation
import Logging
import Postgres
import Schema

/// Lends a fresh database on the cluster that all tests of this machine share.
///
/// - Parameters:
///   - migrated: with the schema of this build; else empty.
///   - maxConnections: of the pool.
package func withDatabase<Value: Sendable>(
    migrated: Bool = true, maxConnections: Int = 8, _ body: (PostgresPool) async throws -> Value
) async throws -> Value {
    try await TestDatabase.with(migrated: migrated) { database in
        let pool = database.pool(maxConnections: maxConnections)
        do {
            let value = try await body(pool)
            await pool.close(grace: .seconds(1))
            return value
        } catch {
            await pool.close(grace: .seconds(1))
            throw error
        }
    }
}

/// A database of one test, dropped at its end.
package struct TestDatabase: Sendable {
    package let name: String
    package let url: String

    package func pool(maxConnections: Int = 8, logger: Logger = .silent) -> PostgresPool {
        PostgresPool(configuration: configuration(maxConnections: maxConnections), logger: logger)
    }

    package func configuration(maxConnections: Int = 8) -> PostgresConfiguration {
        .init(url: Secret(url), maxConnections: maxConnections, acquireTimeout: .seconds(30), applicationName: name)
    }

    package static func with<Value: Sendable>(
        migrated: Bool = true, _ body: (TestDatabase) async throws -> Value
    ) async throws -> Value {
        let cluster = try await TestCluster.shared.cluster()
        let database = try await cluster.create(migrated: migrated)
        do {
            let value = try await body(database)
            try await cluster.drop(database)
            return value
        } catch {
            try? await cluster.drop(database)
            throw error
        }
    }
}

extension Logger {
    /// Says nothing.
    package static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}

extension PostgresPool {
    /// Gives an empty database the schema of this build.
    package func migrated() async throws { try await Migrator(pool: self).migrate(Schema.migrations) }

    /// Runs one that is there already once more, for what it does with rows.
    package func migrateAgain(_ number: Int) async throws {
        try await withTransaction { connection in
            for migration in Schema.migrations where migration.number == number { try await connection.script(migration.sql) }
        }
    }
}

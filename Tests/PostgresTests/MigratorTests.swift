import Core
import Foundation
import Schema
import Testing
import TestSupport

@testable import Postgres

@Suite struct MigratorTests {
    private let first = Migration(
        number: 1, name: "base", sql: "CREATE TABLE a (n int); INSERT INTO a VALUES (1); -- two statements")
    private let second = Migration(number: 2, name: "more", sql: "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 7 $$")

    private func message(_ body: () async throws -> Void) async -> String? {
        do { try await body() } catch { return (error as? AppError)?.message }
        return nil
    }

    @Test func `migrations run once, in order`() async throws {
        try await withDatabase(migrated: false) { pool in
            try await Migrator(pool: pool).migrate([first])
            try await Migrator(pool: pool).migrate([second, first])
            try await Migrator(pool: pool).migrate([first, second])
            #expect(try await pool.query("SELECT f() AS f, count(*) AS n FROM a")[0]["f", as: Int.self] == 7)
            #expect(try await pool.query("SELECT n FROM a").count == 1)
        }
    }

    @Test func `servers that start together migrate once`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pools = (0..<4).map { _ in database.pool(maxConnections: 1) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for pool in pools { group.addTask { try await Migrator(pool: pool).migrate([first, second]) } }
                try await group.waitForAll()
            }
            #expect(try await pools[0].query("SELECT n FROM a").count == 1)
            for pool in pools { await pool.close() }
        }
    }

    @Test func `a migration that fails leaves nothing and names itself`() async throws {
        try await withDatabase(migrated: false) { pool in
            let bad = Migration(number: 2, name: "bad", sql: "CREATE TABLE b (n int); SELECT * FROM missing")
            let text = await message { try await Migrator(pool: pool).migrate([first, bad]) }
            #expect(text == "Migration 0002_bad failed: relation \"missing\" does not exist")
            #expect(try await pool.query("SELECT to_regclass('b') IS NULL AS gone")[0]["gone", as: Bool.self])
            try await Migrator(pool: pool).migrate([first, second])
        }
    }

    @Test func `a newer schema is refused in a sentence`() async throws {
        try await withDatabase(migrated: false) { pool in
            try await Migrator(pool: pool).migrate([first, second])
            let text = await message { try await Migrator(pool: pool).migrate([first]) }
            #expect(text == "The database has schema 2, this server knows schemas up to 1. Start a newer release of Slipway.")
        }
    }

    @Test func `a changed or late migration is refused`() throws {
        func applied(_ migration: Migration) -> (number: Int, name: String, checksum: Data) {
            (migration.number, migration.name, migration.checksum)
        }
        var changed = first
        changed.sql += " "
        #expect(throws: AppError.self) { try Migrator.pending([changed], applied: [applied(first)]) }
        #expect(throws: AppError.self) { try Migrator.pending([first, second], applied: [applied(second)]) }
        #expect(throws: AppError.self) { try Migrator.pending([second], applied: [applied(first), applied(second)]) }
        #expect(try Migrator.pending([first, second], applied: [applied(first)]) == [second])
        #expect(try Migrator.pending([], applied: []) == [])
    }

    @Test func `the schema of this build migrates an empty database`() async throws {
        #expect(Set(Schema.migrations.map(\.number)).count == Schema.migrations.count)
        try await withDatabase(migrated: false) { pool in
            try await Migrator(pool: pool).migrate(Schema.migrations)
            #expect(try await pool.query("SELECT number FROM schema_migrations").count == Schema.migrations.count)
        }
    }
}

import Core
import Foundation
import Postgres
import Testing
import TestSupport

@Suite struct PoolTests {
    @Test func `a caller that waits too long is told that the database is busy`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            var configuration = database.configuration(maxConnections: 1)
            configuration.acquireTimeout = .seconds(1)
            let pool = PostgresPool(configuration: configuration, logger: .silent)
            try await pool.withConnection { _ in
                let error = await #expect(throws: AppError.self) { try await pool.query("SELECT 1") }
                #expect(error?.code == .unavailable)
                #expect(error?.message == "The database is busy: all 1 connections are in use.")
            }
            #expect(try await pool.query("SELECT 1").count == 1)
            await pool.close()
        }
    }

    @Test func `an unreachable database is reported with its reason`() async throws {
        var configuration = PostgresConfiguration(url: "postgresql:///x?host=/nonexistent")
        configuration.acquireTimeout = .milliseconds(100)
        let pool = PostgresPool(configuration: configuration, logger: .silent)
        let error = await #expect(throws: AppError.self) { try await pool.query("SELECT 1") }
        #expect(error?.code == .unavailable)
        #expect(error?.detail?.contains("/nonexistent") == true)
        await pool.close()
    }

    @Test func `a connection that is killed is reported and replaced, its statement is not repeated`() async throws {
        try await withDatabase(migrated: false, maxConnections: 2) { pool in
            try await pool.execute("CREATE TABLE t (n int)")
            let error = await #expect(throws: PostgresError.self) {
                try await pool.withConnection { connection in
                    try await connection.pipeline(["INSERT INTO t VALUES (1)", "SELECT pg_terminate_backend(pg_backend_pid())"])
                }
            }
            #expect(error?.isConnectionLost == true)
            #expect(try await pool.query("SELECT n FROM t").isEmpty)
        }
    }

    @Test func `a connection that dies idle is noticed`() async throws {
        try await withDatabase(migrated: false, maxConnections: 2) { pool in
            try await pool.withConnection { killer in
                let victim = try await pool.query("SELECT pg_backend_pid() AS pid")[0]["pid", as: Int.self]
                #expect(pool.load.idle == 1)
                _ = try await killer.query("SELECT pg_terminate_backend(\(victim)::int)")
                try await eventually("the connection is lost") { pool.load.idle == 0 }
                let next = try await pool.query("SELECT pg_backend_pid() AS pid")[0]["pid", as: Int.self]
                #expect(next != victim)
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func `cancelling a task ends its statement in the server and keeps the connection`() async throws
    {
        try await withDatabase(migrated: false, maxConnections: 1) { pool in
            let pid = try await pool.query("SELECT pg_backend_pid() AS pid")[0]["pid", as: Int.self]
            let start = ContinuousClock.now
            let task = Task { try await pool.query("SELECT pg_sleep(60)") }
            try await eventually("a connection is lent") { pool.load.lent > 0 }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(ContinuousClock.now - start < .seconds(10))
            #expect(try await pool.query("SELECT pg_backend_pid() AS pid")[0]["pid", as: Int.self] == pid)
        }
    }

    @Test func `a cancelled waiter leaves the queue`() async throws {
        try await withDatabase(migrated: false, maxConnections: 1) { pool in
            try await pool.withConnection { _ in
                let task = Task { try await pool.query("SELECT 1") }
                try await eventually("somebody waits") { pool.load.waiting > 0 }
                task.cancel()
                await #expect(throws: CancellationError.self) { try await task.value }
                #expect(pool.load.waiting == 0)
            }
        }
    }

    @Test func `a forgotten transaction does not reach the next caller`() async throws {
        try await withDatabase(migrated: false, maxConnections: 1) { pool in
            try await pool.execute("CREATE TABLE t (n int)")
            try await pool.withConnection { connection in
                try await connection.execute("BEGIN")
                try await connection.execute("INSERT INTO t VALUES (1)")
            }
            #expect(try await pool.query("SELECT n FROM t").isEmpty)
        }
    }

    @Test func `many callers share few connections`() async throws {
        try await withDatabase(migrated: false, maxConnections: 3) { pool in
            try await pool.execute("CREATE TABLE t (n int8)")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<300 { group.addTask { try await pool.execute("INSERT INTO t VALUES (\(number))") } }
                try await group.waitForAll()
            }
            let row = try await pool.query(
                "SELECT sum(n) AS sum, (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS used FROM t")[
                    0]
            #expect(try row["sum", as: Int.self] == 44850)
            #expect(try row["used", as: Int.self] <= 3)
        }
    }

    @Test func `values larger than any socket buffer go both ways`() async throws {
        try await withDatabase(migrated: false, maxConnections: 2) { pool in
            let big = Data((0..<20_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
            let results = try await pool.withConnection { try await $0.pipeline((0..<3).map { _ in "SELECT \(big) AS big" }) }
            for rows in results { #expect(try rows[0]["big", as: Data.self] == big) }
        }
    }

    @Test func `a closed pool refuses and closing again is harmless`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool()
            _ = try await pool.query("SELECT 1")
            await pool.close()
            await pool.close()
            let error = await #expect(throws: AppError.self) { try await pool.query("SELECT 1") }
            #expect(error?.message == "The server is shutting down.")
        }
    }

    @Test func `closing cuts a statement that outlasts the grace`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool()
            let task = Task { try await pool.query("SELECT pg_sleep(60)") }
            try await eventually("a connection is lent") { pool.load.lent > 0 }
            await pool.close(grace: .milliseconds(20))
            let error = await #expect(throws: PostgresError.self) { try await task.value }
            #expect(error?.isConnectionLost == true)
        }
    }

    @Test func `a table that changes under a prepared statement fails one call, not all`() async throws {
        try await withDatabase(migrated: false, maxConnections: 1) { pool in
            try await pool.execute("CREATE TABLE t AS SELECT 1 AS a")
            #expect(try await pool.query("SELECT * FROM t").count == 1)
            try await pool.execute("ALTER TABLE t ADD COLUMN b text DEFAULT 'new'")
            await #expect(throws: PostgresError.self) { try await pool.query("SELECT * FROM t") }
            #expect(try await pool.query("SELECT * FROM t")[0]["b", as: String.self] == "new")
        }
    }
}

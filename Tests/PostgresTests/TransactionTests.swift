import Core
import Postgres
import Testing
import TestSupport

@Suite struct TransactionTests {
    private struct Refused: Error {}

    private func withTable(_ body: (PostgresPool) async throws -> Void) async throws {
        try await withDatabase(migrated: false, maxConnections: 2) { pool in
            try await pool.execute("CREATE TABLE t (n int8 PRIMARY KEY)")
            try await body(pool)
        }
    }

    private func rows(_ pool: PostgresPool) async throws -> [Int] {
        try await pool.query("SELECT n FROM t ORDER BY n").map { try $0["n", as: Int.self] }
    }

    @Test func `what returns is committed, what throws is rolled back`() async throws {
        try await withTable { pool in
            let value = try await pool.withTransaction { transaction in
                try await transaction.execute("INSERT INTO t VALUES (1)")
                try await transaction.execute("INSERT INTO t VALUES (2)")
                return 5
            }
            #expect(value == 5)
            await #expect(throws: Refused.self) {
                try await pool.withTransaction { transaction in
                    try await transaction.execute("INSERT INTO t VALUES (3)")
                    throw Refused()
                }
            }
            await #expect(throws: PostgresError.self) {
                try await pool.withTransaction { transaction in
                    try await transaction.execute("INSERT INTO t VALUES (4)")
                    try await transaction.execute("INSERT INTO t VALUES (1)")
                }
            }
            #expect(try await rows(pool) == [1, 2])
        }
    }

    @Test func `a first statement that fails leaves no transaction behind`() async throws {
        try await withTable { pool in
            await #expect(throws: PostgresError.self) {
                try await pool.withTransaction { try await $0.execute("INSERT INTO missing VALUES (1)") }
            }
            try await pool.execute("INSERT INTO t VALUES (1)")
            #expect(try await rows(pool) == [1])
            #expect(pool.load.lent == 0)
        }
    }

    @Test func `an error that the body swallows does not look like a commit`() async throws {
        try await withTable { pool in
            let error = await #expect(throws: PostgresError.self) {
                try await pool.withTransaction { transaction in
                    try await transaction.execute("INSERT INTO t VALUES (1)")
                    _ = try? await transaction.execute("INSERT INTO t VALUES (1)")
                }
            }
            #expect(error?.sqlState == "25P02")
            let left = try await rows(pool)
            #expect(left == [])
        }
    }

    @Test func `a transaction without statements is none`() async throws {
        try await withTable { pool in
            try await pool.withTransaction { _ in }
            #expect(try await rows(pool) == [])
        }
    }

    @Test func `asynchronous commit holds for the one transaction`() async throws {
        try await withDatabase(migrated: false, maxConnections: 1) { pool in
            let show: Query = "SELECT current_setting('synchronous_commit') AS value"
            _ = try await pool.execute("SET synchronous_commit = on")
            let inside = try await pool.withTransaction(synchronousCommit: false) {
                try await $0.query(show)[0]["value", as: String.self]
            }
            #expect(inside == "off")
            #expect(try await pool.query(show)[0]["value", as: String.self] == "on")
        }
    }

    @Test func `a cancelled transaction is rolled back and its connection lives on`() async throws {
        try await withTable { pool in
            let task = Task {
                try await pool.withTransaction { transaction in
                    try await transaction.execute("INSERT INTO t VALUES (1)")
                    _ = try await transaction.query("SELECT pg_sleep(60)")
                }
            }
            while try await pool.query(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
            ).isEmpty {}
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(try await rows(pool) == [])
            #expect(pool.load.lent == 0)
        }
    }

    @Test func `a pipeline outside of a transaction is all or nothing`() async throws {
        try await withTable { pool in
            let error = await #expect(throws: PostgresError.self) {
                try await pool.withConnection {
                    try await $0.pipeline(["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (\(1))", "INSERT INTO t VALUES (2)"])
                }
            }
            #expect(error?.isUniqueViolation == true)
            #expect(error?.statement == "INSERT INTO t VALUES ($1)")
            #expect(try await rows(pool) == [])
            let results = try await pool.withConnection {
                try await $0.pipeline(["INSERT INTO t VALUES (7) RETURNING n", "SELECT n + 1 FROM t"])
            }
            #expect(try results.map { try $0[0][0, as: Int.self] } == [7, 8])
        }
    }
}

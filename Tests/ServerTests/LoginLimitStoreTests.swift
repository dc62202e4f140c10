import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Server

/// The counts of log-in are those of all servers of a database.
@Suite struct LoginLimitStoreTests {
    private func withServers(_ body: (_ one: LoginLimitStore, _ other: LoginLimitStore, PostgresPool) async throws -> Void)
        async throws
    {
        try await TestDatabase.with { database in
            let (one, other) = (database.pool(), database.pool())
            try await body(LoginLimitStore(pool: one), LoginLimitStore(pool: other), one)
            await one.close()
            await other.close()
        }
    }

    @Test func `two servers allow as many attempts as one, also at the same moment`() async throws {
        try await withServers { one, other, _ in
            let allowed = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<30 {
                    group.addTask {
                        try await (number.isMultiple(of: 2) ? one : other).attempt(username: "ada", address: "192.0.2.1") == .goOn
                    }
                }
                return try await group.reduce(into: 0) { if $1 { $0 += 1 } }
            }
            #expect(allowed == 5)
            guard case .wait(let wait, isReported: false) = try await other.attempt(username: "ada", address: "192.0.2.1") else {
                Issue.record("a sixth attempt went on, or the lock was reported twice")
                return
            }
            #expect(wait > .zero && wait <= .seconds(12))
        }
    }

    @Test func `who logged in at one server is at home at the other`() async throws {
        try await withServers { one, other, _ in
            #expect(try await one.attempt(username: "ada", address: "198.51.100.1") == .goOn)
            try await one.succeeded(username: "ada", address: "198.51.100.1")
            for number in 0..<110 { _ = try await one.attempt(username: "ada", address: "10.0.0.\(number)") }
            #expect(try await other.attempt(username: "ada", address: "203.0.113.9") != .goOn)
            #expect(try await other.attempt(username: "ada", address: "198.51.100.1") == .goOn)
        }
    }

    @Test func `what says nothing any more is removed, and counts as nothing until then`() async throws {
        try await withServers { one, _, pool in
            for _ in 0..<6 { _ = try await one.attempt(username: "ada", address: "192.0.2.1") }
            try await pool.execute("UPDATE login_attempts SET expires_at = now() - interval '1 s'")
            #expect(try await one.attempt(username: "ada", address: "192.0.2.1") == .goOn)
            _ = try await one.attempt(username: "bob", address: "192.0.2.2")
            let left = try await pool.query("SELECT count(*) FILTER (WHERE expires_at < now()) AS n FROM login_attempts")
            #expect(try left[0]["n", as: Int64.self] == 0)
        }
    }
}

import Core
import Foundation
import Gateway
import Logging
import NIOConcurrencyHelpers
import Postgres
import TestSupport
import Testing

@testable import Server

/// What a suspension reaches beyond sessions and tokens, and what the log says of who logs in.
@Suite struct SuspendedOwnerTests {
    private static func with(
        logger: Logger = .silent, _ body: (PostgresPool, UserService, Principal) async throws -> Void
    ) async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let passwords = Passwords()
            let users = UserService(
                pool: pool, facts: AuditFacts(pool: pool, replica: ReplicaID()), passwords: passwords, logger: logger)
            for (name, role) in [("root", "owner"), ("ada", "member"), ("bob", "member")] {
                try await pool.execute(
                    """
                    INSERT INTO users (id, organization_id, username, roles)
                    VALUES (\(UserID()), \(OrganizationID.default), \(name), ARRAY[\(role)])
                    """)
            }
            let id: UserID = try await pool.query("SELECT id FROM users WHERE username = 'root'")[0]["id"]
            try await body(pool, users, Principal(organization: .default, user: id, username: "root", roles: [.owner]))
            await passwords.close()
            await pool.close()
        }
    }

    @Test func `a suspension asks the user's tasks to stop, in the same transaction`() async throws {
        try await Self.with { pool, users, root in
            for (owner, status) in [
                ("ada", "queued"), ("ada", "running"), ("ada", "waiting"), ("ada", "completed"), ("ada", "paused"),
                ("bob", "running"),
            ] {
                try await pool.execute(
                    """
                    INSERT INTO tasks (id, organization_id, owner_id, name, title, model, repository, status, wake_at)
                    SELECT \(TaskID()), organization_id, id, \("\(owner)-\(status)"), 't', 'm', 'r', \(status), now() + interval '1 hour'
                    FROM users WHERE username = \(owner)
                    """)
            }
            _ = try await users.setSuspended(root, "ada", true)
            let rows = try await pool.query(
                """
                SELECT name, status, interrupt_by, wake_at IS NULL AS is_now,
                    (SELECT count(*) FROM task_events e WHERE e.task_id = t.id AND e.kind = 'interrupt_requested') AS events
                FROM tasks t ORDER BY name
                """
            ).map { row in
                "\(try row["name", as: String.self]) \(try row["status", as: String.self]) "
                    + "\(try row["interrupt_by", as: String?.self] ?? "-") \(try row["is_now", as: Bool.self]) \(try row["events", as: Int.self])"
            }
            let by = "root, who suspended the account"
            #expect(
                rows == [
                    "ada-completed completed - false 0", "ada-paused paused - false 0", "ada-queued queued \(by) true 1",
                    "ada-running running \(by) true 1", "ada-waiting queued \(by) true 1", "bob-running running - false 0",
                ])
        }
    }

    @Test func `a password that was typed as a user name is not in the log`() async throws {
        let lines = NIOLockedValueBox<[String]>([])
        let logger = Logger(label: "test") { _ in LineCatcher(lines: lines) }
        try await Self.with(logger: logger) { _, users, _ in
            for name in ["correct-horse-battery", "ADA"] {
                await #expect(throws: AppError.self) {
                    try await users.logIn(username: name, password: Secret("wrong"), address: "192.0.2.7")
                }
            }
        }
        let failed = lines.withLockedValue { $0 }.filter { $0.contains("A log-in failed.") }
        #expect(failed.count == 2 && failed[0].contains("(unknown)") && failed[1].contains("ada"), "\(failed)")
        #expect(!lines.withLockedValue { $0 }.contains { $0.contains("horse") })
    }

    private struct LineCatcher: LogHandler {
        let lines: NIOLockedValueBox<[String]>
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { lines.withLockedValue { $0.append("\(event.message) \(event.metadata ?? [:])") } }
    }
}

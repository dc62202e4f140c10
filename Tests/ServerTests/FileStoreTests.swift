import AgentLoop
import Core
import Foundation
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Server

/// Uploads that no task uses: how much of them there may be, and how long.
@Suite struct FileStoreTests {
    private static func with(_ body: (PostgresPool, FileStore, Principal) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let user = UserID()
            try await pool.execute(
                """
                INSERT INTO users (id, organization_id, username, roles)
                VALUES (\(user), \(OrganizationID.default), 'ada', ARRAY['member'])
                """)
            let principal = Principal(organization: .default, user: user, username: "ada", roles: [.member])
            try await body(pool, FileStore(pool: pool, largest: 100, mostUnused: 250), principal)
            await pool.close()
        }
    }

    private static func body(_ count: Int) -> AsyncThrowingStream<ByteBuffer, any Error> {
        AsyncThrowingStream { more in
            more.yield(ByteBuffer(repeating: 7, count: count))
            more.finish()
        }
    }

    private static func upload(_ store: FileStore, _ principal: Principal, announced: Int? = 100) async throws -> UUID {
        try await store.write(principal, contentType: "x", announced: announced, body(100)).id
    }

    private static func use(_ file: UUID, as column: String, _ pool: PostgresPool, _ principal: Principal) async throws {
        try await pool.execute(
            """
            INSERT INTO tasks (id, organization_id, owner_id, name, title, model, repository, \(unsafeSQL: column))
            VALUES (\(TaskID()), \(principal.organization), \(principal.user), \("t-" + column.replacing("_", with: "-")), 't', 'm', 'r', \(file))
            """)
    }

    @Test func `uploads that nothing uses have a bound, and what a task uses does not count`() async throws {
        try await Self.with { pool, store, ada in
            let first = try await Self.upload(store, ada)
            _ = try await Self.upload(store, ada)
            let error = await #expect(throws: AppError.self) { try await Self.upload(store, ada) }
            #expect(error?.code == .conflict && error?.field == "body")
            #expect(error?.message.contains("hold 200 bytes; with this one they would hold more than the 250 bytes") == true)
            // A small one still fits.
            _ = try await store.write(ada, contentType: "x", announced: 10, Self.body(10))
            try await Self.use(first, as: "input_file", pool, ada)
            _ = try await Self.upload(store, ada)
        }
    }

    @Test(arguments: [100, nil]) func `many at once do not overlook each other`(announced: Int?) async throws {
        try await Self.with { pool, store, ada in
            let stored = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        do {
                            _ = try await Self.upload(store, ada, announced: announced)
                            return true
                        } catch let error as AppError where error.code == .conflict { return false }
                    }
                }
                return try await group.reduce(into: 0) { if $1 { $0 += 1 } }
            }
            #expect(stored == 2)
            #expect(try await pool.query("SELECT count(*) AS n FROM files WHERE hash IS NOT NULL")[0]["n", as: Int.self] == 2)
        }
    }

    @Test func `what no task uses is removed after a day, and nothing else`() async throws {
        try await Self.with { pool, store, ada in
            let columns = ["input_file", "result_bundle", "result_diff"]
            var kept: Set<UUID> = []
            for column in columns {
                let file = try await store.write(ada, contentType: "x", announced: 10, Self.body(10)).id
                try await Self.use(file, as: column, pool, ada)
                kept.insert(file)
            }
            let old = try await store.write(ada, contentType: "x", announced: 10, Self.body(10)).id
            try await pool.execute("UPDATE files SET created_at = now() - interval '25 hours'")
            kept.insert(try await store.write(ada, contentType: "x", announced: 10, Self.body(10)).id)
            let files = TaskFiles(pool)
            async let one = files.removeUnused()
            async let two = files.removeUnused()
            #expect(try await one + two == 1)
            #expect(try await Set(pool.query("SELECT id FROM files").map { try $0["id", as: UUID.self] }) == kept)
            await #expect(throws: AppError.self) { try await store.find(ada, old) }
        }
    }
}

import Core
import Postgres
import Testing
import TestSupport

@Suite(.timeLimit(.minutes(1))) struct ListenerTests {
    @Test func `notifications arrive, also after the connection was lost`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(maxConnections: 2)
            let listener = PostgresListener(configuration: database.configuration(), logger: .silent)
            var heard = listener.listen("Odd \"topic\"").makeAsyncIterator()
            let running = Task { try await listener.run() }
            #expect(await heard.next() == .reconnected)
            try await pool.execute("SELECT pg_notify(\("Odd \"topic\""), \("one"))")
            #expect(await heard.next() == .received(payload: "one"))

            var late = listener.listen("late").makeAsyncIterator()
            #expect(await late.next() == .reconnected)
            try await pool.execute("SELECT pg_notify('late', 'now')")
            #expect(await late.next() == .received(payload: "now"))

            try await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
            #expect(await heard.next() == .reconnected)
            try await pool.execute("SELECT pg_notify(\("Odd \"topic\""), \("two"))")
            #expect(await heard.next() == .received(payload: "two"))

            listener.close()
            #expect(await heard.next() == nil)
            try await running.value
            await pool.close()
        }
    }

    @Test func `a slow consumer is told to read everything again`() async throws {
        try await TestDatabase.with(migrated: false) { database in
            let pool = database.pool(maxConnections: 1)
            let listener = PostgresListener(configuration: database.configuration(), logger: .silent)
            let stream = listener.listen("busy")
            let marks = listener.listen("mark")
            let running = Task { try await listener.run() }
            var heard = stream.makeAsyncIterator()
            #expect(await heard.next() == .reconnected)
            try await pool.execute("SELECT pg_notify('busy', n::text) FROM generate_series(1, 600) AS n")
            try await pool.execute("SELECT pg_notify('mark', 'end')")
            for await mark in marks where mark == .received(payload: "end") { break }
            var sawGap = false
            var last = ""
            for _ in 0..<256 {
                switch await heard.next() {
                case .reconnected: sawGap = true
                case .received(let payload): last = payload
                case nil: break
                }
            }
            #expect(sawGap)
            #expect(last == "600" || last == "599")
            listener.close()
            try await running.value
            await pool.close()
        }
    }
}

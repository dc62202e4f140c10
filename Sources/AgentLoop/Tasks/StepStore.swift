import Core
import Postgres

/// What a worker commits. Each commit is one round trip and one transaction: the lease is checked first, events are numbered in it.
package struct StepStore: Sendable {
    let pool: PostgresPool

    package init(_ pool: PostgresPool) { self.pool = pool }

    /// - Parameter isDurable: false returns before the disk has it. Allowed where nothing depends on it yet: a database that crashes
    ///   takes back the newest commits in their order, and whoever goes on comes to the same, by the recorded answer of the step's
    ///   interception and by the agent's journal. What lets an effect begin, and what ends a turn, waits for the disk and
    ///   with it for all that came before; so does the gateway before it hands out an answer.
    /// - Throws: `LeaseLost`. Any other error leaves open whether it was committed: read the rows again.
    func commit(_ lease: Lease, _ events: [NewEvent], _ changes: [Query], isDurable: Bool = true) async throws {
        let soon: [Query] = isDurable ? [] : ["SELECT set_config('synchronous_commit', 'off', true)"]
        let statements = try soon + Self.statements(lease, events) + changes
        try await Self.translated(lease) { _ = try await pool.withConnection { try await $0.pipeline(statements) } }
    }

    static func translated<Value>(_ lease: Lease, _ body: () async throws -> Value) async throws -> Value {
        do { return try await body() } catch let error as PostgresError where error.sqlState == "SL001" {
            throw LeaseLost(task: lease.task)
        }
    }

    static func statements(_ lease: Lease, _ events: [NewEvent]) throws -> [Query] {
        var statements: [Query] = ["SELECT task_guard(\(lease.task), \(lease.worker), \(lease.fence), \(events.count))"]
        if !events.isEmpty {
            statements.append(
                """
                INSERT INTO task_events (task_id, organization_id, seq, kind, payload)
                SELECT t.id, t.organization_id, t.last_seq - \(events.count) + e.n, e.kind, e.payload::json
                FROM tasks t, unnest(\(events.map(\.kind.rawValue)), \(try events.map { try EventCoding.text($0.payload) }))
                    WITH ORDINALITY AS e (kind, payload, n)
                WHERE t.id = \(lease.task)
                """)
        }
        return statements
    }

    static func entries(_ lease: Lease, _ entries: [Transcript.Entry]) throws -> [Query] {
        guard let last = entries.last else { return [] }
        let inserts: [Query] = try entries.map { entry in
            """
            INSERT INTO task_entries (task_id, organization_id, position, kind, step, content)
            SELECT id, organization_id, \(entry.position), \(entry.kind.rawValue), \(entry.step.map(Int32.init)),
                \(try EventCoding.text(entry.content))::json
            FROM tasks WHERE id = \(lease.task)
            """
        }
        return inserts + ["UPDATE tasks SET last_entry = \(last.position) WHERE id = \(lease.task)"]
    }
}

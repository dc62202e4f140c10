import Core
import Foundation
import Postgres

/// The SQL of one kind of log: of builds or of agents.
struct LogStore: Sendable {
    let pool: PostgresPool
    /// Whose rows the logs belong to.
    private let owners: String
    private let table: String

    static func builds(_ pool: PostgresPool) -> LogStore {
        LogStore(pool: pool, owners: "workspace_builds", table: "workspace_build_logs")
    }

    static func agents(_ pool: PostgresPool) -> LogStore {
        LogStore(pool: pool, owners: "workspace_agents", table: "workspace_agent_logs")
    }

    /// As many as fit. Not flushed: a log is for people, and the sandbox's own file has the rest.
    func append(_ lines: [LogLine], to owner: UUID) async throws {
        if lines.isEmpty { return }
        try await pool.withTransaction(synchronousCommit: false) { try await append(lines, to: owner, $0) }
    }

    func append(_ lines: [LogLine], to owner: UUID, _ connection: PostgresConnection) async throws {
        let rows = try await connection.query(
            """
            SELECT organization_id, logs_length, logs_overflowed FROM \(unsafeSQL: owners) WHERE id = \(owner) FOR UPDATE
            """)
        guard let row = rows.first else { return }
        var room = LogRoom(length: try row["logs_length"], isFull: try row["logs_overflowed"])
        let taken = room.take(lines)
        if taken.isEmpty { return }
        try await connection.pipeline([
            """
            UPDATE \(unsafeSQL: owners) SET logs_length = \(room.length), logs_overflowed = \(room.isFull) WHERE id = \(owner)
            """,
            """
            INSERT INTO \(unsafeSQL: table) (organization_id, owner_row, at, source, level, stage, output)
            SELECT \(try row["organization_id", as: OrganizationID.self]), \(owner), at, source, level, stage, output
            FROM unnest(\(taken.map(\.at)), \(taken.map(\.source.rawValue)), \(taken.map(\.level.rawValue)), \(taken.map(\.stage)),
                        \(taken.map(\.text))) WITH ORDINALITY AS t (at, source, level, stage, output, n) ORDER BY n
            """,
        ])
    }

    /// In order; `after` is the id of a line that was read before.
    func read(_ owner: UUID, after: Int64, limit: Int) async throws -> [LogLine] {
        try await pool.query(
            """
            SELECT id, at, source, level, stage, output FROM \(unsafeSQL: table)
            WHERE owner_row = \(owner) AND id > \(after) ORDER BY id LIMIT \(limit)
            """
        ).map { row in
            LogLine(
                id: try row["id"], at: try row["at"], source: LogLine.Source(rawValue: try row["source"]) ?? .server,
                level: LogLine.Level(rawValue: try row["level"]) ?? .info, stage: try row["stage"], text: try row["output"])
        }
    }
}

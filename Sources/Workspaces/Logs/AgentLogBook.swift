import AgentProtocol
import Core
import Foundation
import Logging
import Postgres

/// Writes down what agents say of themselves, in the order it comes. It is their word: a workload that took its agent over can say anything.
package final class AgentLogBook: Sendable {
    private typealias Batch = (workspace: WorkspaceID, lines: AgentLogLines)

    private let pool: PostgresPool
    private let changes: WorkspaceChanges
    private let logger: Logger
    private let batches: AsyncStream<Batch>
    private let tell: AsyncStream<Batch>.Continuation

    package init(pool: PostgresPool, changes: WorkspaceChanges, logger: Logger) {
        self.pool = pool
        self.changes = changes
        self.logger = logger
        // A batch has at most 2 MiB, and an agent sends one at a time: what comes faster than it is written is lost, oldest first.
        (batches, tell) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(256))
    }

    /// Never blocks.
    package func note(_ workspace: WorkspaceID, _ lines: AgentLogLines) { tell.yield((workspace, lines)) }

    package func run() async {
        for await batch in batches {
            do { try await write(batch) } catch {
                if Task.isCancelled { return }
                logger.debug(
                    "an agent's log was not written down", metadata: ["workspace": "\(batch.workspace)", "error": "\(error)"])
            }
        }
    }

    private func write(_ batch: Batch) async throws {
        let rows = try await pool.query(
            """
            SELECT id FROM workspace_agents WHERE workspace_id = \(batch.workspace) AND revoked_at IS NULL
            ORDER BY created_at DESC LIMIT 1
            """)
        guard let agent: UUID = try rows.first?["id"] else { return }
        let now = Date()
        var lines = batch.lines.lines.prefix(1000).flatMap { line in
            // Its clock is its own: what could not be is now.
            let at = abs(line.at.timeIntervalSince(now)) < 86_400 * 366 ? line.at : now
            return LogLine.lines(
                line.text, at: at, source: .agent, level: line.level == "error" ? .error : .info, stage: "Agent")
        }
        if batch.lines.dropped > 0 {
            lines += LogLine.lines(
                "\(batch.lines.dropped) earlier lines were not kept.", at: now, source: .agent, level: .warn, stage: "Agent")
        }
        try await LogStore.agents(pool).append(lines, to: agent)
        changes.tell(batch.workspace)
    }
}

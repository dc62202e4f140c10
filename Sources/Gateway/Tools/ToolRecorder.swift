import Core
import Foundation
import Postgres

/// Puts calls of tools and their results on record, each row with its entry in a chain, in one transaction. On disk when it returns.
final class ToolRecorder: Sendable {
    enum Item: Sendable {
        case call(ToolCallRecord)
        case result(ToolResultRecord)
        /// Refused, and so never sent.
        case both(ToolCallRecord, ToolResultRecord)
    }

    private let patience: Duration
    private let batcher: Batcher<Item, Void>

    init(pool: PostgresPool, replica: ReplicaID, patience: Duration) {
        self.patience = patience
        // A chain of the facts' kind: calls of tools are few, and must not wait for changes that admins make.
        let chain = AuditChain(.facts, replica: replica)
        batcher = Batcher(largest: 100) { batch in
            let outcome = await Self.write(batch, pool, chain)
            return batch.map { _ in outcome }
        }
    }

    /// - Throws: `unavailable` when it fails or takes longer than the patience.
    func record(_ item: Item) async throws {
        do {
            try await batcher.submit(item, within: patience)
        } catch {
            throw AppError(
                .unavailable, "The call of the tool could not be put on record, so it is refused. Try again.",
                retry: .after(.seconds(2)),
                cause: error)
        }
    }

    func expire() { batcher.expire(AppError(.timeout, "The database did not confirm the record in time.")) }
    func idle() async { await batcher.idle() }

    private static func write(_ batch: [Item], _ pool: PostgresPool, _ chain: AuditChain) async -> Result<Void, any Error> {
        var calls: [ToolCallRecord] = []
        var results: [ToolResultRecord] = []
        for item in batch {
            switch item {
            case .call(let call): calls.append(call)
            case .result(let result): results.append(result)
            case .both(let call, let result):
                calls.append(call)
                results.append(result)
            }
        }
        let (callRows, resultRows) = (calls, results)
        do {
            let draft = try await pool.withTransaction { connection in
                try await chain.prepare(connection)
                let at: Int64 = try await connection.query("SELECT \(unsafeSQL: microseconds("clock_timestamp()")) AS at")[0]["at"]
                let entries =
                    callRows.map {
                        AuditEntry(.tool, subject: $0.id.uuidString.lowercased(), digest: $0.facts.canonical(at: at).digest)
                    }
                    + resultRows.map {
                        AuditEntry(.toolResult, subject: $0.call.uuidString.lowercased(), digest: $0.facts.canonical(at: at).digest)
                    }
                let findings =
                    callRows.flatMap { FindingRows.rows($0.id, .tool, $0.organization, $0.findings) }
                    + resultRows.flatMap { FindingRows.rows($0.call, .answer, $0.organization, $0.findings) }
                let draft = try chain.draft(entries + FindingRows.entries(findings, at: at), at: at)
                var statements: [Query] = []
                if !findings.isEmpty { statements.append(FindingRows.insert(findings, at: at)) }
                if !callRows.isEmpty { statements.append(insert(callRows, at: at)) }
                if !resultRows.isEmpty { statements.append(insert(resultRows, at: at)) }
                _ = try await connection.pipeline(statements + [draft.insert])
                return draft
            }
            chain.committed(draft)
            return .success(())
        } catch {
            chain.doubt()
            return .failure(error)
        }
    }

    private static func insert(_ rows: [ToolCallRecord], at: Int64) -> Query {
        """
        INSERT INTO ai_mcp_calls (id, organization_id, user_id, token_id, task_id, session_id, client, server_id, server, tool,
                                  tool_use_id, decision, rule, arguments, arguments_hash, arguments_size, request_id, replica_id,
                                  started_at)
        SELECT t.*, 'epoch'::timestamptz + \(at)::bigint * interval '1 microsecond'
        FROM unnest(\(rows.map(\.id)), \(rows.map(\.organization.uuid)), \(rows.map(\.user.uuid)), \(rows.map { $0.token?.uuid }),
                    \(rows.map { $0.task?.uuid }), \(rows.map(\.session)), \(rows.map(\.client)), \(rows.map(\.serverID)),
                    \(rows.map(\.server)), \(rows.map(\.tool)), \(rows.map(\.toolUseID)), \(rows.map(\.decision)),
                    \(rows.map(\.rule)), \(rows.map(\.arguments)), \(rows.map { ToolContent.hash($0.arguments) }),
                    \(rows.map { Int64($0.arguments.utf8.count) }), \(rows.map(\.requestID)), \(rows.map(\.replica.uuid))) AS t
        """
    }

    private static func insert(_ rows: [ToolResultRecord], at: Int64) -> Query {
        """
        INSERT INTO ai_mcp_results (call_id, organization_id, status, result, result_hash, result_size, error, duration, ended_at)
        SELECT t.*, 'epoch'::timestamptz + \(at)::bigint * interval '1 microsecond'
        FROM unnest(\(rows.map(\.call)), \(rows.map(\.organization.uuid)), \(rows.map(\.status.rawValue)), \(rows.map(\.result)),
                    \(rows.map { ToolContent.hash($0.result) }), \(rows.map { Int64($0.result.utf8.count) }), \(rows.map(\.error)),
                    \(rows.map(\.microseconds))) AS t
        """
    }
}

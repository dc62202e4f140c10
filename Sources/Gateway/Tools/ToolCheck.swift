import AuditProof
import Core
import Foundation
import Postgres

/// Compares entries about calls of tools with their rows.
extension RecordRows {
    func toolCalls(_ subjects: [String]) async throws -> [String: Canonical] {
        if subjects.isEmpty { return [:] }
        let rows = try await connection.query(
            """
            SELECT *, \(unsafeSQL: microseconds("started_at")) AS at FROM ai_mcp_calls
            WHERE id = ANY(\(subjects.compactMap { UUID(uuidString: $0) }))
            """)
        return try Dictionary(
            uniqueKeysWithValues: rows.map { row in
                let facts = ToolCallRecord.Facts(
                    id: try row["id"], organization: try row["organization_id"], user: try row["user_id"],
                    token: try row["token_id"], task: try row["task_id"], session: try row["session_id"], client: try row["client"],
                    serverID: try row["server_id"], server: try row["server"], tool: try row["tool"],
                    toolUseID: try row["tool_use_id"], decision: try row["decision"], rule: try row["rule"],
                    argumentsHash: try row["arguments_hash"], argumentsSize: try row["arguments_size"],
                    requestID: try row["request_id"], replica: try row["replica_id"])
                var canonical = facts.canonical(at: try row["at"])
                if !Self.agrees(try row["arguments"], facts.argumentsHash) { canonical = Canonical("the content is another") }
                return (facts.id.uuidString.lowercased(), canonical)
            })
    }

    func toolResults(_ subjects: [String]) async throws -> [String: Canonical] {
        if subjects.isEmpty { return [:] }
        let rows = try await connection.query(
            """
            SELECT *, \(unsafeSQL: microseconds("ended_at")) AS at FROM ai_mcp_results
            WHERE call_id = ANY(\(subjects.compactMap { UUID(uuidString: $0) }))
            """)
        return try Dictionary(
            uniqueKeysWithValues: rows.map { row in
                let facts = ToolResultRecord.Facts(
                    call: try row["call_id"], organization: try row["organization_id"], status: try row["status"],
                    resultHash: try row["result_hash"], resultSize: try row["result_size"], error: try row["error"],
                    microseconds: try row["duration"])
                var canonical = facts.canonical(at: try row["at"])
                if !Self.agrees(try row["result"], facts.resultHash) { canonical = Canonical("the content is another") }
                return (facts.call.uuidString.lowercased(), canonical)
            })
    }

    /// Content that was removed contradicts nothing.
    private static func agrees(_ content: String?, _ hash: Data) -> Bool { content.map { ToolContent.hash($0) == hash } ?? true }
}

import AuditProof
import Core
import Crypto
import Foundation
import ModelAPI
import Postgres

/// Compares recorded content with the hashes that digests cover. Content that was deleted is no problem; content that was changed is.
/// A call that was booked as `unknown` may have lived on: its answer may have grown behind what was booked, and brought tool calls.
struct ContentCheck {
    let connection: PostgresConnection

    private struct Body {
        var id: InterceptionID
        var organization: UUID
        var part: String
        var size: Int
        var hashes: [Data]
        var expected: Data?
        /// How many bytes the hash is of; nil: all.
        var upTo: Int?
    }

    func run(_ report: inout AuditReport) async throws {
        var place: (id: UUID, part: String) = (UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), "")
        while true {
            let rows = try await connection.query(
                """
                SELECT c.interception_id, c.organization_id, c.part, c.size, c.chunks, coalesce(i.content_mode, 'full') AS mode,
                       CASE WHEN c.part = 'request' THEN i.request_hash
                            WHEN l.answer_size = c.size OR l.state = 'unknown' AND l.answer_size < c.size THEN l.answer_hash END AS expected,
                       CASE WHEN c.part = 'answer' AND l.state = 'unknown' AND l.answer_size < c.size THEN l.answer_size END AS up_to,
                       c.state = 'complete' AND c.part = 'answer' AND l.answer_size <> c.size
                           AND (l.state <> 'unknown' OR l.answer_size > c.size) AS is_wrong
                FROM ai_contents c
                LEFT JOIN ai_interceptions i ON i.id = c.interception_id
                LEFT JOIN ai_ledger l ON l.interception_id = c.interception_id
                WHERE (c.interception_id, c.part) > (\(place.id), \(place.part))
                ORDER BY c.interception_id, c.part LIMIT 200
                """)
            guard let last = rows.last else { break }
            place = (try last["interception_id"], try last["part"])
            var bodies: [Body] = []
            for row in rows {
                let id = try row["interception_id", as: InterceptionID.self]
                if try row["is_wrong", as: Bool?.self] == true {
                    report.add(.content, subject: id.description, "The recorded answer of \(id) is not as long as it was.")
                }
                let mode = try row["mode", as: String.self]
                if mode != ContentMode.full.rawValue {
                    report.add(.content, subject: id.description, "Content of \(id) is stored, although its mode is \(mode).")
                    continue
                }
                let list = try row["chunks", as: Data.self]
                bodies.append(
                    Body(
                        id: id, organization: try row["organization_id"], part: try row["part"], size: try row["size"],
                        hashes: stride(from: 0, to: list.count, by: 32).map { list.subdata(in: $0..<min($0 + 32, list.count)) },
                        expected: try row["expected"], upTo: try row["up_to"]))
            }
            try await check(bodies, &report)
        }
        try await checkDerived(&report)
    }

    /// In groups of at most 64 MB, so that a verification does not need the memory of all bodies.
    private func check(_ bodies: [Body], _ report: inout AuditReport) async throws {
        var group: [Body] = []
        var size = 0
        for body in bodies {
            if size + body.size > 64 << 20, !group.isEmpty {
                try await checkGroup(group, &report)
                group = []
                size = 0
            }
            group.append(body)
            size += body.size
        }
        try await checkGroup(group, &report)
    }

    private func checkGroup(_ bodies: [Body], _ report: inout AuditReport) async throws {
        var chunks: [UUID: [Data: Data]] = [:]
        for organization in Set(bodies.map(\.organization)) {
            let wanted = Array(Set(bodies.filter { $0.organization == organization }.flatMap(\.hashes)))
            for row in try await connection.query(
                "SELECT hash, encoding, data FROM ai_chunks WHERE organization_id = \(organization) AND hash = ANY(\(wanted))")
            {
                let hash = try row["hash", as: Data.self]
                let data = try row["data", as: Data.self]
                // What does not unpack is not what was stored either.
                let plain = try row["encoding", as: Int.self] == 1 ? try? Deflate.inflate(data) : data
                chunks[organization, default: [:]][hash] = plain ?? Data([0])
            }
        }
        for body in bodies {
            var hash = SHA256()
            var left = body.upTo ?? .max
            var isThere = true
            for name in body.hashes {
                guard let bytes = chunks[body.organization]?[name] else {
                    isThere = false
                    break
                }
                hash.update(data: bytes.prefix(left))
                left -= min(left, bytes.count)
            }
            if !isThere {
                report.deletedContents += 1
            } else if let expected = body.expected, Data(hash.finalize()) != expected {
                report.add(.content, subject: body.id.description, "The recorded \(body.part) of \(body.id) was changed.")
            }
        }
    }

    /// Prompts, tool calls and results are there for searching; they must say what the digests say.
    private func checkDerived(_ report: inout AuditReport) async throws {
        var place = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        while true {
            let rows = try await connection.query(
                """
                SELECT i.id, i.prompt_hash, p.prompt,
                       CASE WHEN l.state = 'unknown' AND EXISTS (
                                SELECT FROM ai_contents c WHERE c.interception_id = i.id AND c.part = 'answer' AND c.state = 'complete')
                            THEN NULL ELSE l.tools_hash END AS tools_hash,
                       EXISTS (SELECT FROM ai_contents c WHERE c.interception_id = i.id AND c.part = 'request') AS is_written
                FROM ai_interceptions i
                LEFT JOIN ai_ledger l ON l.interception_id = i.id
                LEFT JOIN ai_user_prompts p ON p.interception_id = i.id
                WHERE i.id > \(place) ORDER BY i.id LIMIT 1000
                """)
            guard let last = rows.last else { return }
            place = try last["id"]
            let ids = try rows.map { try $0["id", as: UUID.self] }
            let tools = try await grouped(
                "SELECT interception_id, provider_tool_call_id AS id, tool, input FROM ai_tool_usages WHERE interception_id = ANY(\(ids)) ORDER BY interception_id, n"
            ) { Content.ToolCall(id: try $0["id"], name: try $0["tool"], input: try $0["input"]) }
            let results = try await grouped(
                "SELECT interception_id, provider_tool_call_id AS id, result, is_error FROM ai_tool_results WHERE interception_id = ANY(\(ids)) ORDER BY interception_id, n"
            ) { RequestSummary.ToolResult(id: try $0["id"], text: try $0["result"], isError: try $0["is_error"]) }
            for row in rows where try row["is_written", as: Bool.self] {
                let id = try row["id", as: InterceptionID.self]
                if Content.promptHash(try row["prompt"], results[id.uuid] ?? []) != (try row["prompt_hash", as: Data.self]) {
                    report.add(.content, subject: id.description, "The recorded prompt or tool results of \(id) were changed.")
                }
                if let hash = try row["tools_hash", as: Data?.self], Content.toolsHash(tools[id.uuid] ?? []) != hash {
                    report.add(.content, subject: id.description, "The recorded tool calls of \(id) were changed.")
                }
            }
        }
    }

    private func grouped<Value>(_ query: Query, _ read: (Row) throws -> Value) async throws -> [UUID: [Value]] {
        var found: [UUID: [Value]] = [:]
        for row in try await connection.query(query) { found[try row["interception_id"], default: []].append(try read(row)) }
        return found
    }
}

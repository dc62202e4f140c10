import Core
import Foundation
import Logging
import ModelAPI
import NIOCore
import Postgres

/// Makes prompts and answers searchable, behind the calls: follows the ledger's chains, for a call that has ended has all its content.
///
/// Indexed are the words of the first 8 KB of a call's newest prompt and of the first 8 KB of its answer's text, where they are kept.
package final class TextFollower: ChainFollower {
    private let pool: PostgresPool
    let logger: Logger

    static let longestText = 8 << 10
    static let name = "texts"
    static let batchSize = 50
    /// Of answers that are read at a time.
    private static let mostBytes = 8 << 20

    init(pool: PostgresPool, logger: Logger) {
        self.pool = pool
        self.logger = logger
    }

    private struct Item {
        var id: InterceptionID
        var organization: OrganizationID
        var prompt: String
        var api: ModelProtocol?
        var answer: ContentStore.Stored?

        init?(_ row: Row) throws {
            guard let id = try row["id", as: InterceptionID?.self] else { return nil }
            self.id = id
            organization = try row["organization_id"]
            prompt = try row["prompt", as: String?.self] ?? ""
            api = ModelProtocol(rawValue: try row["protocol"])
            answer = try row["state", as: String?.self] == nil ? nil : ContentStore.Stored(row)
        }
    }

    @discardableResult
    package func follow() async throws -> Int {
        try await pool.withTransaction(synchronousCommit: false) { connection in
            guard try await isMine(connection) else { return 0 }
            // Content is written beside the booking, within moments.
            let isOld: Query = "e.at < (extract(epoch FROM now()) * 1000000)::bigint - 1000000"
            let behind = try await connection.query(
                """
                SELECT e.chain, e.n, i.id, i.organization_id, i.protocol, left(p.prompt, \(Self.longestText)::int) AS prompt,
                       a.state, a.content_type, a.size, a.chunks, a.timing
                FROM \(AuditChain.behind(Self.name, limit: Self.batchSize, isOld))
                LEFT JOIN ai_interceptions i ON i.id = CASE e.kind WHEN 'ledger' THEN split_part(e.subject, '/', 1)::uuid END
                    AND coalesce(i.content_mode, 'full') = 'full'
                LEFT JOIN ai_user_prompts p ON p.interception_id = i.id
                LEFT JOIN ai_contents a ON a.interception_id = i.id AND a.part = 'answer' AND a.organization_id = i.organization_id
                WHERE c.name = 'ledger'
                """)
            if behind.isEmpty { return 0 }
            var items = try behind.compactMap(Item.init)[...]
            while !items.isEmpty {
                var bytes = 0
                let some = items.prefix { item in
                    defer { bytes += item.answer?.size ?? 0 }
                    return bytes < Self.mostBytes
                }
                items = items.dropFirst(some.count)
                try await index(Array(some), connection)
            }
            var reached: [UUID: Int64] = [:]
            for row in behind { reached[try row["chain"]] = max(reached[try row["chain"]] ?? 0, try row["n"]) }
            try await connection.execute(
                """
                INSERT INTO audit_cursors (follower, chain, n)
                SELECT \(Self.name), chain, n FROM unnest(\(Array(reached.keys)), \(Array(reached.values))) AS t (chain, n)
                ON CONFLICT (follower, chain) DO UPDATE SET n = excluded.n
                """)
            return behind.count
        }
    }

    static let lock: Int64 = 0x736C_6970_7465_7874

    private func index(_ items: [Item], _ connection: PostgresConnection) async throws {
        let bodies = try await ContentStore.bodies(items.compactMap(\.answer), connection)
        let texts = items.map { item in
            let answer = item.answer.flatMap { bodies[$0.interception] }.map { Self.text($0, item.api) }
            return SearchText.words(item.prompt + "\n" + (answer ?? ""))
        }
        try await connection.execute(
            """
            INSERT INTO ai_texts (interception_id, organization_id, words)
            SELECT id, organization_id, to_tsvector('simple', words)
            FROM unnest(\(items.map(\.id.uuid)), \(items.map(\.organization.uuid)), \(texts)) AS t (id, organization_id, words)
            ON CONFLICT (interception_id) DO UPDATE SET words = excluded.words
            """)
    }

    private static func text(_ body: ContentStore.Body, _ api: ModelProtocol?) -> String {
        guard let api else { return "" }
        var reader = AnswerReader(api, streamed: body.contentType.hasPrefix("text/event-stream"))
        try? reader.feed(ByteBuffer(bytes: body.bytes))
        reader.finish()
        return reader.text.storable(upTo: longestText)
    }
}

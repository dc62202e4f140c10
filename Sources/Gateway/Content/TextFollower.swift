import Core
import Foundation
import Logging
import ModelAPI
import NIOCore
import Postgres

/// Makes prompts and answers searchable, behind the calls: follows the ledger's chains, for a call that has ended has all its content.
///
/// Indexed are the words of the first 8 KB of a call's newest prompt and of the first 8 KB of its answer's text, where they are kept.
package final class TextFollower: Sendable {
    private let pool: PostgresPool
    private let contents: ContentStore
    private let logger: Logger

    static let longestText = 8 << 10
    private static let name = "texts"
    private static let interval = Duration.seconds(2)
    private static let batchSize = 200

    init(pool: PostgresPool, contents: ContentStore, logger: Logger) {
        self.pool = pool
        self.contents = contents
        self.logger = logger
    }

    /// Until cancelled. It rests four times as long as it works: under load the search lags behind, and calls do not.
    func run() async {
        while !Task.isCancelled {
            let began = ContinuousClock.now
            var isBehind = false
            do { isBehind = try await follow() >= Self.batchSize } catch {
                if !Task.isCancelled { logger.debug("texts could not be indexed", metadata: ["error": "\(error)"]) }
            }
            let took = began.duration(to: .now)
            try? await Task.sleep(for: isBehind ? took * 4 : max(Self.interval, took * 4))
        }
    }

    private struct Item {
        var id: InterceptionID
        var organization: OrganizationID
        var prompt: String
        var api: ModelProtocol?
    }

    /// - Returns: how many calls were looked at.
    @discardableResult
    package func follow() async throws -> Int {
        try await pool.withTransaction(synchronousCommit: false) { connection in
            let mine = try await connection.query("SELECT pg_try_advisory_xact_lock(\(Self.lock)) AS is_mine")[0]
            guard try mine["is_mine", as: Bool.self] else { return 0 }
            // Content is written beside the booking, within moments.
            let behind = try await connection.query(
                """
                SELECT e.chain, e.n, i.id, i.organization_id, i.protocol, left(p.prompt, \(Self.longestText)::int) AS prompt
                FROM audit_chains c LEFT JOIN audit_cursors k ON k.follower = \(Self.name) AND k.chain = c.id
                CROSS JOIN LATERAL (
                    SELECT e.chain, e.n, e.subject FROM audit_entries e
                    WHERE e.chain = c.id AND e.n > coalesce(k.n, 0) AND e.kind = 'ledger'
                      AND e.at < (extract(epoch FROM now()) * 1000000)::bigint - 1000000
                    ORDER BY e.n LIMIT \(Self.batchSize)
                ) e
                LEFT JOIN ai_interceptions i ON i.id = split_part(e.subject, '/', 1)::uuid AND coalesce(i.content_mode, 'full') = 'full'
                LEFT JOIN ai_user_prompts p ON p.interception_id = i.id
                WHERE c.name = 'ledger'
                """)
            if behind.isEmpty { return 0 }
            let items = try behind.compactMap { row -> Item? in
                guard let id = try row["id", as: InterceptionID?.self] else { return nil }
                return Item(
                    id: id, organization: try row["organization_id"], prompt: try row["prompt", as: String?.self] ?? "",
                    api: ModelProtocol(rawValue: try row["protocol"]))
            }
            var rows: [(item: Item, text: String)] = []
            for item in items { rows.append((item, item.prompt + "\n" + (try await answer(item)))) }
            try await connection.execute(
                """
                INSERT INTO ai_texts (interception_id, organization_id, words)
                SELECT id, organization_id, to_tsvector('simple', words)
                FROM unnest(\(rows.map(\.item.id.uuid)), \(rows.map(\.item.organization.uuid)), \(rows.map(\.text)))
                     AS t (id, organization_id, words)
                ON CONFLICT (interception_id) DO UPDATE SET words = excluded.words
                """)
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

    private static let lock: Int64 = 0x736C_6970_7465_7874

    private func answer(_ item: Item) async throws -> String {
        guard let api = item.api, let body = try await contents.body(item.organization, item.id, .answer) else { return "" }
        var reader = AnswerReader(api, streamed: body.contentType.hasPrefix("text/event-stream"))
        try? reader.feed(ByteBuffer(bytes: body.bytes))
        reader.finish()
        return reader.text.storable(upTo: Self.longestText)
    }
}

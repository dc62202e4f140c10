import Core
import Foundation
import ModelAPI
import Postgres

/// One write of a call's content. Later writes of the same part replace its list of chunks, which only grows.
struct ContentWrite: Sendable {
    struct Manifest: Sendable {
        var part: Content.Part
        var state: Content.State
        var contentType: String
        var size: Int
        /// All hashes so far.
        var chunks: Data
        /// Of a stream, as `ChunkTimes` has it.
        var timing: Data?
    }

    var organization: OrganizationID
    var interception: InterceptionID
    var chunks: [Content.Chunk] = []
    var manifests: [Manifest] = []
    var prompt: String?
    var tools: [Content.ToolCall] = []
    var results: [RequestSummary.ToolResult] = []
}

struct ContentStore: Sendable {
    let pool: PostgresPool

    struct Body: Sendable {
        var state: Content.State
        var contentType: String
        var bytes: Data
        /// As `ChunkTimes` has it.
        var timing: Data?
    }

    /// The recorded bytes; nil when there are none, or when some of them were deleted.
    func body(_ organization: OrganizationID, _ interception: InterceptionID, _ part: Content.Part) async throws -> Body? {
        try await pool.withConnection { try await Self.body($0, organization, interception, part) }
    }

    static func body(
        _ connection: PostgresConnection, _ organization: OrganizationID, _ interception: InterceptionID, _ part: Content.Part
    ) async throws -> Body? {
        let rows = try await connection.query(
            """
            SELECT interception_id AS id, organization_id, state, content_type, size, chunks, timing FROM ai_contents
            WHERE interception_id = \(interception) AND part = \(part.rawValue) AND organization_id = \(organization)
            """)
        return try await bodies(rows.map(Stored.init), connection)[interception]
    }

    /// A body as it is stored, without its bytes.
    struct Stored: Sendable {
        let interception: InterceptionID
        let size: Int
        fileprivate let organization: OrganizationID
        fileprivate let state: Content.State
        fileprivate let contentType: String
        fileprivate let timing: Data?
        fileprivate let hashes: [Data]

        /// - Parameter row: with `id` of the interception, `organization_id` and the other columns of `ai_contents`.
        init(_ row: Row) throws {
            interception = try row["id"]
            organization = try row["organization_id"]
            state = Content.State(rawValue: try row["state"]) ?? .partial
            contentType = try row["content_type"]
            size = try row["size"]
            timing = try row["timing"]
            let list = try row["chunks", as: Data.self]
            hashes = stride(from: 0, to: list.count, by: 32).map { list.subdata(in: $0..<min($0 + 32, list.count)) }
        }
    }

    /// The recorded bytes of one part of each; those are not in it of which some were deleted.
    static func bodies(_ stored: [Stored], _ connection: PostgresConnection) async throws -> [InterceptionID: Body] {
        var result: [InterceptionID: Body] = [:]
        for (organization, stored) in Dictionary(grouping: stored, by: \.organization) {
            var found: [Data: Data] = [:]
            for chunk in try await connection.query(
                """
                SELECT hash, encoding, data FROM ai_chunks
                WHERE organization_id = \(organization) AND hash = ANY(\(Array(Set(stored.flatMap(\.hashes)))))
                """)
            {
                let data = try chunk["data", as: Data.self]
                found[try chunk["hash"]] = try chunk["encoding", as: Int.self] == 1 ? Deflate.inflate(data) : data
            }
            for one in stored {
                let pieces = one.hashes.compactMap { found[$0] }
                guard pieces.count == one.hashes.count else { continue }
                var bytes = Data(capacity: one.size)
                for piece in pieces { bytes.append(piece) }
                result[one.interception] = Body(
                    state: one.state, contentType: one.contentType, bytes: bytes, timing: one.timing)
            }
        }
        return result
    }

    /// - Parameter isStored: whether a chunk is known to be there already.
    /// - Returns: the chunks that were written.
    func write(
        _ batch: [ContentWrite], isStored: (OrganizationID, Data) -> Bool
    ) async throws -> [(organization: OrganizationID, hash: Data)] {
        var statements: [Query] = []
        let chunks = newChunks(batch, isStored)
        if !chunks.isEmpty {
            statements.append(
                """
                INSERT INTO ai_chunks (organization_id, hash, encoding, data)
                SELECT * FROM unnest(\(chunks.map(\.organization)), \(chunks.map(\.hash)), \(chunks.map(\.encoding)), \(chunks.map(\.data)))
                ON CONFLICT (organization_id, hash) DO UPDATE SET used_on = excluded.used_on WHERE ai_chunks.used_on < excluded.used_on
                """)
        }
        statements += manifests(batch)
        let prompts = batch.filter { $0.prompt != nil }
        if !prompts.isEmpty {
            statements.append(
                """
                INSERT INTO ai_user_prompts (interception_id, organization_id, prompt)
                SELECT * FROM unnest(\(prompts.map(\.interception.uuid)), \(prompts.map(\.organization.uuid)), \(prompts.map { $0.prompt ?? "" }))
                ON CONFLICT DO NOTHING
                """)
        }
        if let query = tools(batch) { statements.append(query) }
        if let query = results(batch) { statements.append(query) }
        if !statements.isEmpty {
            try await pool.withTransaction(synchronousCommit: false) { [statements] in _ = try await $0.commit(after: statements) }
        }
        return chunks.map { (OrganizationID($0.organization), $0.hash) }
    }

    private struct StoredChunk: Sendable {
        var organization: UUID
        var hash: Data
        var encoding: Int
        var data: Data
    }

    private func newChunks(_ batch: [ContentWrite], _ isStored: (OrganizationID, Data) -> Bool) -> [StoredChunk] {
        var seen: Set<Data> = []
        var rows: [StoredChunk] = []
        for write in batch {
            for chunk in write.chunks where !isStored(write.organization, chunk.hash) {
                guard seen.insert(chunk.hash + withUnsafeBytes(of: write.organization.uuid.uuid) { Data($0) }).inserted else {
                    continue
                }
                let packed = Deflate.deflate(chunk.bytes)
                rows.append(
                    StoredChunk(
                        organization: write.organization.uuid, hash: chunk.hash, encoding: packed == nil ? 0 : 1,
                        data: packed ?? Data(chunk.bytes.readableBytesView)))
            }
        }
        // In one order everywhere: two servers that insert the same chunks must not wait for each other in a circle.
        return rows.sorted { $0.hash.lexicographicallyPrecedes($1.hash) }
    }

    /// Of several writes of a part in the batch the last one counts: one statement cannot update a row twice.
    private func manifests(_ batch: [ContentWrite]) -> [Query] {
        struct Place: Hashable {
            var interception: InterceptionID
            var part: Content.Part
        }
        var rows: [(write: ContentWrite, manifest: ContentWrite.Manifest)] = []
        var places: [Place: Int] = [:]
        for write in batch {
            for manifest in write.manifests {
                let place = Place(interception: write.interception, part: manifest.part)
                if let index = places.updateValue(rows.count, forKey: place) {
                    rows[index] = (write, manifest)
                    places[place] = index
                } else {
                    rows.append((write, manifest))
                }
            }
        }
        if rows.isEmpty { return [] }
        return [
            """
            INSERT INTO ai_contents (interception_id, part, organization_id, state, content_type, size, chunks, timing)
            SELECT * FROM unnest(\(rows.map(\.write.interception.uuid)), \(rows.map(\.manifest.part.rawValue)),
                                 \(rows.map(\.write.organization.uuid)), \(rows.map(\.manifest.state.rawValue)),
                                 \(rows.map(\.manifest.contentType)), \(rows.map(\.manifest.size)), \(rows.map(\.manifest.chunks)),
                                 \(rows.map(\.manifest.timing)))
            ON CONFLICT (interception_id, part) DO UPDATE
            SET state = excluded.state, content_type = excluded.content_type, size = excluded.size, chunks = excluded.chunks,
                timing = excluded.timing
            """
        ]
    }

    private func tools(_ batch: [ContentWrite]) -> Query? {
        let rows = batch.flatMap { write in write.tools.enumerated().map { (write, $0.offset, $0.element) } }
        if rows.isEmpty { return nil }
        return """
            INSERT INTO ai_tool_usages (interception_id, n, organization_id, provider_tool_call_id, tool, input)
            SELECT * FROM unnest(\(rows.map(\.0.interception.uuid)), \(rows.map(\.1)), \(rows.map(\.0.organization.uuid)), \(rows.map(\.2.id)),
                                 \(rows.map(\.2.name)), \(rows.map(\.2.input)))
            ON CONFLICT DO NOTHING
            """
    }

    private func results(_ batch: [ContentWrite]) -> Query? {
        let rows = batch.flatMap { write in write.results.enumerated().map { (write, $0.offset, $0.element) } }
        if rows.isEmpty { return nil }
        return """
            INSERT INTO ai_tool_results (interception_id, n, organization_id, provider_tool_call_id, result, is_error)
            SELECT * FROM unnest(\(rows.map(\.0.interception.uuid)), \(rows.map(\.1)), \(rows.map(\.0.organization.uuid)), \(rows.map(\.2.id)),
                                 \(rows.map(\.2.text)), \(rows.map(\.2.isError)))
            ON CONFLICT DO NOTHING
            """
    }
}

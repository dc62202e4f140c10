import Core
import Crypto
import Foundation
import ModelAPI
import NIOCore
import Postgres

/// Finds recorded calls to replay.
struct ReplayStore: Sendable {
    let pool: PostgresPool
    let contents: ContentStore

    struct Recorded: Sendable {
        var id: InterceptionID
        var startedAt: Date
        var total: Duration
        /// Nil: not recorded.
        var firstByte: Duration?
        var httpStatus: Int

        init(_ row: Row) throws {
            id = try row["id"]
            startedAt = try row["started_at"]
            total = .milliseconds(try row["total_ms", as: Int64.self])
            firstByte = try row["first_token_ms", as: Int64?.self].map { .milliseconds($0) }
            httpStatus = try row["http_status"]
        }
    }

    private static let columns = """
        i.id, i.started_at, i.http_status, i.first_token_ms, (extract(epoch FROM i.ended_at - i.started_at) * 1000)::bigint AS total_ms
        """
    /// Beyond what the gateway itself adds to a request.
    private static let mostAdded = 64
    private static let mostCandidates = 50

    /// - Parameter name: of the protocol, on record.
    func same(
        _ organization: OrganizationID, _ address: ReplayAddress, _ body: ByteBuffer, _ api: ModelProtocol, named name: String
    ) async throws -> Recorded? {
        let hash = body.withUnsafeReadableBytes { Data(SHA256.hash(bytes: $0)) }
        let rows = try await pool.query(
            """
            SELECT \(unsafeSQL: Self.columns), i.request_hash = \(hash) AS same FROM ai_interceptions i
            WHERE \(Self.recorded(organization, address)) AND i.protocol = \(name)
              AND (i.request_hash = \(hash)
                   OR i.streamed AND i.request_size BETWEEN \(body.readableBytes - Self.mostAdded) AND \(body.readableBytes - 1))
            ORDER BY same DESC, i.started_at DESC LIMIT \(Self.mostCandidates)
            """)
        for row in rows {
            let found = try Recorded(row)
            if try row["same", as: Bool.self] { return found }
            guard api == .chatCompletions, let request = try await contents.body(organization, found.id, .request) else { continue }
            let original = ByteBuffer(bytes: request.bytes)
            if let summary = try? RequestSummary.read(original, as: api),
                BodyEdit.includeUsage(summary, in: original)?.apply(to: original) == body
            {
                return found
            }
        }
        return nil
    }

    func inSession(_ organization: OrganizationID, _ provider: String, _ session: String, at place: Int) async throws -> Recorded? {
        try await pool.query(
            """
            SELECT \(unsafeSQL: Self.columns) FROM ai_interceptions i
            WHERE i.organization_id = \(organization) AND i.session_id = \(session) AND i.provider_name = \(provider)
              AND i.status = 'completed' ORDER BY i.started_at, i.id LIMIT 1 OFFSET \(place)
            """
        ).first.map(Recorded.init)
    }

    func answer(_ organization: OrganizationID, _ id: InterceptionID) async throws -> ContentStore.Body? {
        try await contents.body(organization, id, .answer)
    }

    /// The request of the same model that begins with the most chunks of this one, and its bytes.
    func nearest(
        _ organization: OrganizationID, _ address: ReplayAddress, _ body: ByteBuffer, _ api: ModelProtocol
    ) async throws -> (Recorded, ByteBuffer)? {
        guard let summary = try? RequestSummary.read(body, as: api, path: address.route) else { return nil }
        let rows = try await pool.query(
            """
            SELECT \(unsafeSQL: Self.columns), c.chunks FROM ai_interceptions i
            JOIN ai_contents c ON c.interception_id = i.id AND c.part = 'request'
            WHERE \(Self.recorded(organization, address)) AND i.model = \(summary.model) ORDER BY i.started_at DESC LIMIT 500
            """)
        let wanted = Content.chunks(of: body, messages: summary.messageRanges).reduce(into: Data()) { $0.append($1.hash) }
        var best: (row: Row, common: Int)?
        for row in rows {
            let chunks = try row["chunks", as: Data.self]
            let common = zip(chunks, wanted).prefix { $0 == $1 }.count / 32
            if best.map({ common > $0.common }) ?? true { best = (row, common) }
        }
        guard let best else { return nil }
        let found = try Recorded(best.row)
        guard let request = try await contents.body(organization, found.id, .request) else { return nil }
        return (found, ByteBuffer(bytes: request.bytes))
    }

    private static func recorded(_ organization: OrganizationID, _ address: ReplayAddress) -> Query {
        """
        i.organization_id = \(organization) AND i.provider_name = \(address.provider) AND i.status = 'completed'
        AND i.started_at > now() - \(address.days)::bigint * interval '1 day'
        """
    }
}

import Core
import Foundation
import Logging
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import Postgres

/// Watches the caches of sessions, and when one collapses finds out from the recorded requests where they differ, records it and
/// raises the alarm: in the log, in a metric, in the detail of the call.
final class CacheAlarm: Sendable {
    private let watch = NIOLockedValueBox(CacheWatch())
    private let pool: PostgresPool
    private let contents: ContentStore
    private let logger: Logger
    private let collapses: Counter

    init(pool: PostgresPool, contents: ContentStore, metrics: Metrics, logger: Logger) {
        self.pool = pool
        self.contents = contents
        self.logger = logger
        collapses = metrics.counter(
            "slipway_gateway_cache_collapses_total", "Calls that found the prompt cache of their session lost.",
            labels: ["provider", "model"])
    }

    /// Costs a look into memory, unless a cache has collapsed.
    func ended(_ facts: CallRecord.Facts, _ target: Target, _ usage: Usage) {
        // As the record groups them: the client's own word, else the first call of the thread.
        var session = facts.interception.clientSession ?? (facts.grant.threadRoot ?? facts.call.id.uuid).uuidString
        // Each agent of a client has a conversation of its own.
        if let agent = facts.interception.agent?.id { session += " \(agent)" }
        let call = CacheWatch.Call(
            id: facts.call.id, messages: facts.summary.messageRanges.count, cached: usage.cacheRead, input: usage.totalInput,
            began: facts.began, ended: .now)
        let key = CacheWatch.Key(
            organization: facts.interception.organization, user: facts.interception.initiator, session: session,
            provider: target.provider.name, model: target.model)
        guard let collapse = watch.withLockedValue({ $0.ended(call, of: key) }) else { return }
        collapses.add(1, [target.provider.name, target.price.model])
        // Nobody awaits it: one read and one write behind the call's end, and the alarm in the log whatever becomes of them.
        Task { await raise(collapse, key, later: facts.call.body) }
    }

    private func raise(_ collapse: CacheWatch.Collapse, _ key: CacheWatch.Key, later: ByteBuffer) async {
        var found = "the earlier request is not on record"
        var difference: RequestDifference?
        do {
            if let earlier = try await contents.body(key.organization, collapse.before.id, .request) {
                difference = RequestDifference.find(earlier: ByteBuffer(bytes: earlier.bytes), later: later)
                found =
                    difference.map { "the requests differ at \($0.place), byte \($0.offset)" }
                    ?? "the requests agree: the provider dropped the cache"
                try await record(collapse, key, difference)
            }
        } catch {
            logger.warning("a lost prompt cache could not be looked into", metadata: ["error": "\(error)"])
        }
        logger.warning(
            "a session lost its prompt cache",
            metadata: [
                "session": "\(key.session)", "interception": "\(collapse.now.id)", "previous": "\(collapse.before.id)",
                "provider": "\(key.provider)", "model": "\(key.model)", "cached_before": "\(collapse.before.cached)",
                "cached_now": "\(collapse.now.cached)", "found": "\(found)",
            ])
    }

    private func record(_ collapse: CacheWatch.Collapse, _ key: CacheWatch.Key, _ difference: RequestDifference?) async throws {
        try await pool.execute(
            """
            INSERT INTO ai_cache_collapses (interception_id, organization_id, previous_id, cached_before, cached_now, place, message,
                                            byte_offset, previous_offset)
            VALUES (\(collapse.now.id), \(key.organization), \(collapse.before.id), \(collapse.before.cached), \(collapse.now.cached),
                    \(difference?.place), \(difference?.message), \(difference?.offset), \(difference?.earlierOffset))
            ON CONFLICT DO NOTHING
            """)
    }
}

/// What was found about a cache that was lost, with both sides as far as the requests are on record.
package struct CacheCollapse: Sendable, Equatable {
    package var previous: InterceptionID
    package var cachedBefore: TokenCount
    package var cachedNow: TokenCount
    /// Nil: the requests agree, or the earlier one was not on record.
    package var place: String?
    package var message: Int?
    package var offset: Int?
    package var excerpt: String?
    package var previousOffset: Int?
    package var previousExcerpt: String?
}

extension InterceptionStore {
    /// The excerpts come from the recorded requests: what was deleted there is not shown here, nor is what another person asked.
    func cacheCollapse(_ organization: OrganizationID, _ id: InterceptionID, _ connection: PostgresConnection) async throws
        -> CacheCollapse?
    {
        let rows = try await connection.query(
            """
            SELECT c.previous_id, c.cached_before, c.cached_now, c.place, c.message, c.byte_offset, c.previous_offset
            FROM ai_cache_collapses c
            JOIN ai_interceptions i ON i.id = c.interception_id
            JOIN ai_interceptions p ON p.id = c.previous_id AND p.initiator_id = i.initiator_id
            WHERE c.interception_id = \(id) AND c.organization_id = \(organization)
            """)
        guard let row = rows.first else { return nil }
        var found = try CacheCollapse(
            previous: row["previous_id"], cachedBefore: row["cached_before"], cachedNow: row["cached_now"], place: row["place"],
            message: row["message"], offset: row["byte_offset"], previousOffset: row["previous_offset"])
        if let offset = found.offset, let body = try await ContentStore.body(connection, organization, id, .request) {
            found.excerpt = RequestDifference.excerpt(ByteBuffer(bytes: body.bytes), at: offset)
        }
        if let offset = found.previousOffset,
            let body = try await ContentStore.body(connection, organization, found.previous, .request)
        {
            found.previousExcerpt = RequestDifference.excerpt(ByteBuffer(bytes: body.bytes), at: offset)
        }
        return found
    }
}

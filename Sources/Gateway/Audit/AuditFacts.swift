import Core
import Foundation
import Postgres

/// Facts without a table of their own: what admins changed, what other parts of the server put on record. On disk when `record` returns.
package final class AuditFacts: Sendable {
    private let pool: PostgresPool
    private let chain: AuditChain
    private let batcher: Batcher<Fact, Void>

    struct Fact: Sendable {
        var id = UUID()
        var organization: OrganizationID
        var actor: UserID?
        var kind: String
        var subject: String
        /// Canonical JSON.
        var body: String

        func digest(at: Int64) -> Data {
            var canonical = Canonical("fact-1")
            canonical.add(id)
            canonical.add(organization)
            canonical.add(actor)
            canonical.add(kind)
            canonical.add(subject)
            canonical.add(body)
            canonical.add(at)
            return canonical.digest
        }
    }

    init(pool: PostgresPool, chain: AuditChain) {
        self.pool = pool
        self.chain = chain
        batcher = Batcher(largest: 200) { batch in await Self.write(batch, pool, chain) }
    }

    /// - Parameters:
    ///   - kind: what happened, e.g. `budget.set`.
    ///   - subject: the name or id of what it happened to.
    ///   - details: never secrets; content only by its hash.
    package func record(_ principal: Principal, kind: String, subject: String, _ details: [String: String]) async throws {
        try await record(organization: principal.organization, actor: principal.user, kind: kind, subject: subject, details)
    }

    package func record(
        organization: OrganizationID, actor: UserID?, kind: String, subject: String, _ details: [String: String]
    ) async throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let body = String(decoding: try encoder.encode(details.mapValues(\.storable)), as: UTF8.self)
        try await batcher.submit(
            Fact(organization: organization, actor: actor, kind: kind.storable, subject: subject.storable, body: body))
    }

    func idle() async { await batcher.idle() }

    private static func write(_ batch: [Fact], _ pool: PostgresPool, _ chain: AuditChain) async -> [Result<Void, any Error>] {
        do {
            let draft = try await pool.withTransaction { connection in
                try await chain.prepare(connection)
                let at: Int64 = try await connection.query("SELECT \(unsafeSQL: microseconds("now()")) AS at")[0]["at"]
                let entries = batch.map { AuditEntry(.fact, subject: $0.id.uuidString.lowercased(), digest: $0.digest(at: at)) }
                let draft = try chain.draft(entries, at: at)
                try await connection.pipeline([
                    """
                    INSERT INTO audit_facts (id, organization_id, actor_id, kind, subject, body, at)
                    SELECT id, organization_id, actor_id, kind, subject, body, now()
                    FROM unnest(\(batch.map(\.id)), \(batch.map(\.organization.uuid)), \(batch.map { $0.actor?.uuid }),
                                \(batch.map(\.kind)), \(batch.map(\.subject)), \(batch.map(\.body)))
                         AS t (id, organization_id, actor_id, kind, subject, body)
                    """,
                    draft.insert,
                ])
                return draft
            }
            chain.committed(draft)
            return batch.map { _ in .success(()) }
        } catch {
            chain.doubt()
            return batch.map { _ in .failure(error) }
        }
    }
}

/// SQL for a time in microseconds since 1970, as digests have it.
func microseconds(_ expression: String) -> String { "(extract(epoch FROM \(expression)) * 1000000)::bigint" }

extension String {
    /// PostgreSQL stores no NUL; it becomes U+FFFD.
    var storable: String { utf8.contains(0) ? replacing("\0", with: "\u{FFFD}") : self }

    /// At most so many bytes, cut between characters.
    func storable(upTo limit: Int) -> String {
        let text = storable
        if text.utf8.count <= limit { return text }
        var end = text.utf8.index(text.startIndex, offsetBy: limit)
        while end.samePosition(in: text.unicodeScalars) == nil { end = text.utf8.index(before: end) }
        return String(text[..<end])
    }
}

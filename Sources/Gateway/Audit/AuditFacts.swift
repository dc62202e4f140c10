import AuditProof
import Core
import Foundation
import NIOConcurrencyHelpers
import Postgres

/// Facts without a table of their own: what admins changed, what other parts of the server put on record. On disk when `record` returns.
package final class AuditFacts: Sendable {
    private let pool: PostgresPool
    private let chain: AuditChain
    private let batcher: Batcher<Item, Void>

    private enum Item: Sendable {
        case fact(Fact)
        /// What it says is recorded by the transaction that does it.
        case change(@Sendable (PostgresConnection) async throws -> [Fact])
    }

    /// What happened, to what, by whom.
    package struct Fact: Sendable {
        var id = UUID()
        var organization: OrganizationID
        var actor: UserID?
        var kind: String
        var subject: String
        /// Canonical JSON.
        var body: String

        func digest(at: Int64) -> Data { canonical(at: at).digest }

        func canonical(at: Int64) -> Canonical {
            var canonical = Canonical("fact-1")
            canonical.add(id)
            canonical.add(organization)
            canonical.add(actor)
            canonical.add(kind)
            canonical.add(subject)
            canonical.add(body)
            canonical.add(at)
            return canonical
        }
    }

    init(pool: PostgresPool, chain: AuditChain) {
        self.pool = pool
        self.chain = chain
        batcher = Batcher(largest: 200) { batch in await Self.perform(batch, pool, chain) }
    }

    /// With a chain of its own, for programs that are no gateway.
    package convenience init(pool: PostgresPool, replica: ReplicaID) {
        self.init(pool: pool, chain: AuditChain(.facts, replica: replica))
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
        try await batcher.submit(
            .fact(try Fact(organization: organization, actor: actor, kind: kind, subject: subject, details)))
    }

    /// Does something and puts it on record, both or neither: what `change` returns is recorded by its own transaction.
    ///
    /// Changes of this process wait for each other, so keep them short.
    package func record<Value: Sendable>(
        change: @escaping @Sendable (PostgresConnection) async throws -> (Value, [Fact])
    ) async throws -> Value {
        let result = NIOLockedValueBox<Value?>(nil)
        try await batcher.submit(
            .change { connection in
                let (value, facts) = try await change(connection)
                result.withLockedValue { $0 = value }
                return facts
            })
        guard let value = result.withLockedValue({ $0 }) else { throw AppError(.internal, "A change had no result.") }
        return value
    }

    func idle() async { await batcher.idle() }

    /// Facts alone share a transaction; each change has its own, so that one that fails fails alone.
    private static func perform(_ batch: [Item], _ pool: PostgresPool, _ chain: AuditChain) async -> [Result<Void, any Error>] {
        let facts = batch.compactMap { if case .fact(let fact) = $0 { fact } else { nil } }
        let written = facts.isEmpty ? .success(()) : await write(pool, chain) { _ in facts }
        var results: [Result<Void, any Error>] = []
        for item in batch {
            switch item {
            case .fact: results.append(written)
            case .change(let change): results.append(await write(pool, chain, change))
            }
        }
        return results
    }

    private static func write(
        _ pool: PostgresPool, _ chain: AuditChain, _ change: @Sendable (PostgresConnection) async throws -> [Fact]
    ) async -> Result<Void, any Error> {
        do {
            let draft: AuditChain.Draft? = try await pool.withTransaction { connection in
                let facts = try await change(connection)
                if facts.isEmpty { return nil }
                try await chain.prepare(connection)
                // After the change: whoever had to wait for its locks has a later time.
                let at: Int64 = try await connection.query("SELECT \(unsafeSQL: microseconds("clock_timestamp()")) AS at")[0]["at"]
                let entries = facts.map { AuditEntry(.fact, subject: $0.id.uuidString.lowercased(), digest: $0.digest(at: at)) }
                let draft = try chain.draft(entries, at: at)
                try await connection.pipeline([
                    """
                    INSERT INTO audit_facts (id, organization_id, actor_id, kind, subject, body, at)
                    SELECT id, organization_id, actor_id, kind, subject, body, 'epoch'::timestamptz + \(at)::bigint * interval '1 microsecond'
                    FROM unnest(\(facts.map(\.id)), \(facts.map(\.organization.uuid)), \(facts.map { $0.actor?.uuid }),
                                \(facts.map(\.kind)), \(facts.map(\.subject)), \(facts.map(\.body)))
                         AS t (id, organization_id, actor_id, kind, subject, body)
                    """,
                    draft.insert,
                ])
                return draft
            }
            if let draft { chain.committed(draft) }
            return .success(())
        } catch {
            chain.doubt()
            return .failure(error)
        }
    }
}

extension AuditFacts.Fact {
    /// What this principal did; see `AuditFacts.record(_:kind:subject:_:)`.
    init(_ principal: Principal, kind: String, subject: String, _ details: [String: String] = [:]) throws {
        try self.init(organization: principal.organization, actor: principal.user, kind: kind, subject: subject, details)
    }

    package init(
        organization: OrganizationID, actor: UserID?, kind: String, subject: String, _ details: [String: String]
    ) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let body = String(decoding: try encoder.encode(details.mapValues(\.storable)), as: UTF8.self)
        self.init(organization: organization, actor: actor, kind: kind.storable, subject: subject.storable, body: body)
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

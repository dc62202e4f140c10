import AuditProof
import Core
import Foundation
import Policies
import Postgres

/// What a rule about content found, or decided about a tool, in a call: for the record. Never what it was.
package struct ContentFinding: Sendable, Equatable {
    package enum Effect: String, Sendable { case blocked, redacted, flagged, allowed }

    package static let toolCall = "tool_call"

    /// A `DataPlace`, or `tool_call` for a decision about a tool.
    package var place: String
    /// E.g. `messages[3].content[0].text`; empty where a stream has none.
    package var path: String
    /// A data class, or the name of a tool.
    package var subject: String
    /// `<policy>/<rule>`.
    package var rule: String
    package var effect: Effect
    package var count = 1
}

/// For those who know the API's value of the same name as well.
package typealias RecordedFinding = ContentFinding

/// What was found, like with like.
struct FindingList: Sendable {
    /// Further places are counted together.
    static let most = 100

    private(set) var findings: [ContentFinding] = []
    private var places: [String: Int] = [:]

    mutating func add(_ finding: ContentFinding) {
        var finding = finding
        if findings.count >= Self.most { finding.path = "…" }
        let key = "\(finding.place) \(finding.path) \(finding.subject) \(finding.rule) \(finding.effect.rawValue)"
        if let place = places[key] {
            findings[place].count += finding.count
        } else if findings.count < Self.most * 2 {
            places[key] = findings.count
            findings.append(finding)
        }
    }

    func has(_ place: DataPlace, _ subject: String) -> Bool {
        findings.contains { $0.place == place.rawValue && $0.subject == subject }
    }
}

/// Writes findings with the call's own row, each with its entry in the chain.
enum FindingRows {
    /// When it was written: with the hold, with the settlement, or with the call of a tool.
    enum Phase: String { case request, answer, tool }

    struct Row {
        var call: UUID
        var phase: Phase
        var n: Int
        var organization: OrganizationID
        var finding: ContentFinding

        var subject: String { "\(call.uuidString.lowercased())/\(phase.rawValue)/\(n)" }
    }

    static func rows(_ call: UUID, _ phase: Phase, _ organization: OrganizationID, _ findings: [ContentFinding]) -> [Row] {
        findings.enumerated().map { Row(call: call, phase: phase, n: $0.offset, organization: organization, finding: $0.element) }
    }

    static func entries(_ rows: [Row], at: Int64) -> [AuditEntry] {
        rows.map {
            AuditEntry(.finding, subject: $0.subject, digest: canonical($0.subject, $0.organization, $0.finding, at).digest)
        }
    }

    static func insert(_ rows: [Row], at: Int64) -> Query {
        """
        INSERT INTO ai_findings (call_id, phase, n, organization_id, place, path, subject, rule, effect, count, at)
        SELECT t.*, 'epoch'::timestamptz + \(at)::bigint * interval '1 microsecond'
        FROM unnest(\(rows.map(\.call)), \(rows.map(\.phase.rawValue)), \(rows.map(\.n)), \(rows.map(\.organization.uuid)),
                    \(rows.map(\.finding.place)), \(rows.map(\.finding.path.storable)), \(rows.map(\.finding.subject.storable)),
                    \(rows.map(\.finding.rule)), \(rows.map(\.finding.effect.rawValue)), \(rows.map(\.finding.count))) AS t
        """
    }

    private static func canonical(_ subject: String, _ organization: OrganizationID, _ finding: ContentFinding, _ at: Int64)
        -> Canonical
    {
        var canonical = Canonical("finding-1")
        canonical.add(subject)
        canonical.add(organization)
        canonical.add(finding.place)
        canonical.add(finding.path.storable)
        canonical.add(finding.subject.storable)
        canonical.add(finding.rule)
        canonical.add(finding.effect.rawValue)
        canonical.add(finding.count)
        canonical.add(at)
        return canonical
    }

    /// What the database has now, in canonical bytes, by subject.
    static func canonicals(_ subjects: [String], _ connection: PostgresConnection) async throws -> [String: Canonical] {
        if subjects.isEmpty { return [:] }
        let ids = subjects.compactMap { UUID(uuidString: String($0.prefix { $0 != "/" })) }
        let rows = try await connection.query(
            "SELECT *, \(unsafeSQL: microseconds("at")) AS moment FROM ai_findings WHERE call_id = ANY(\(ids))")
        return try Dictionary(
            uniqueKeysWithValues: rows.map { row in
                let subject =
                    "\(try row["call_id", as: UUID.self].uuidString.lowercased())/\(try row["phase", as: String.self])/\(try row["n", as: Int.self])"
                return (subject, canonical(subject, try row["organization_id"], try finding(row), try row["moment"]))
            })
    }

    static func finding(_ row: Stored) throws -> ContentFinding {
        ContentFinding(
            place: try row["place"], path: try row["path"], subject: try row["subject"], rule: try row["rule"],
            effect: ContentFinding.Effect(rawValue: try row["effect"]) ?? .flagged, count: try row["count"])
    }

    typealias Stored = Postgres.Row
}

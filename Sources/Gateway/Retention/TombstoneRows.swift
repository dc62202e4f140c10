import AuditProof
import Core
import Foundation
import Postgres

extension Tombstone {
    static func insert(_ tombstones: [Tombstone], fact: AuditFacts.Fact) -> Query {
        """
        INSERT INTO audit_tombstones (fact_id, n, organization_id, what, subject, budget_ids, cost)
        SELECT \(fact.id), n, \(fact.organization), what, subject, string_to_array(budgets, ',')::bigint[], cost
        FROM unnest(\(Array(1...tombstones.count)), \(tombstones.map(\.what.rawValue)), \(tombstones.map(\.subject)),
                    \(tombstones.map { $0.budgets.map { $0.map(String.init).joined(separator: ",") } }), \(tombstones.map(\.cost)))
             AS t (n, what, subject, budgets, cost)
        """
    }

    init(_ row: Row) throws {
        self.init(
            What(rawValue: try row["what"]) ?? .content, try row["subject"], budgets: try row["budget_ids"], cost: try row["cost"])
    }
}

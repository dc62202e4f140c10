import Core
import Foundation
import ModelAPI
import Postgres

/// A call that its own server settles after another one took that server for dead and booked the whole hold, as `unknown`. The ledger's
/// row stays, and a correction says what the call cost: the ledger is exact again. A call is corrected so once.
enum LateSettlement {
    /// Who corrects: no person does.
    private static let server = UserID(UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)))

    /// - Parameter late: of calls whose ledger rows are in state `unknown`.
    static func corrections(_ late: [Settlement], _ connection: PostgresConnection) async throws -> [Correction] {
        if late.isEmpty { return [] }
        // Re-rating leaves such rows alone, so a correction that is there is one of these.
        let rows = try await connection.query(
            """
            SELECT l.interception_id, l.attempt, l.organization_id, l.user_id, l.budget_ids, l.provider, l.model, l.cost, l.price_id
            FROM ai_ledger l
            WHERE l.interception_id = ANY(\(late.map(\.interception.uuid))) AND l.state = \(Settlement.State.unknown.rawValue)
              AND NOT EXISTS (SELECT FROM ai_corrections c WHERE c.interception_id = l.interception_id AND c.attempt = l.attempt)
            """)
        let settlements = Dictionary(late.map { ($0.interception, $0) }, uniquingKeysWith: { first, _ in first })
        return try rows.compactMap { row -> Correction? in
            let id = try row["interception_id", as: InterceptionID.self]
            guard let settlement = settlements[id] else { return nil }
            let booked = try row["cost", as: NanoDollars.self]
            if booked == settlement.cost { return nil }
            return Correction(
                interception: id, attempt: try row["attempt"], n: 1, run: id.uuid, organization: try row["organization_id"],
                actor: server, user: try row["user_id"], budgets: try row["budget_ids"], provider: try row["provider"],
                model: try row["model"], costBefore: booked, costAfter: settlement.cost,
                price: settlement.price.isEmpty ? try row["price_id"] : settlement.price)
        }
    }
}

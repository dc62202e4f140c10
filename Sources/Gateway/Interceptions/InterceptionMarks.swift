import Core
import Foundation
import Postgres

/// Who said it, by which token, and what tells whether it was this that was said: of a call whose words are not kept, too.
package struct InterceptionMarks: Sendable {
    /// Nil: it was no call by a token.
    package var token: (id: TokenID, name: String?)?
    package var requestHash: Data
    package var requestSize: Int64
    /// Of the last attempt; nil: none is booked.
    package var answer: (hash: Data, size: Int64)?
}

extension InterceptionStore {
    /// Of a call that the caller has been let see.
    ///
    /// - Throws: `notFound`.
    package func marks(_ id: InterceptionID) async throws -> InterceptionMarks {
        let rows = try await pool.query(
            """
            SELECT i.token_id, t.name, i.request_hash, i.request_size, l.answer_hash, l.answer_size
            FROM ai_interceptions i LEFT JOIN tokens t ON t.id = i.token_id LEFT JOIN ai_ledger l ON l.interception_id = i.id
            WHERE i.id = \(id) ORDER BY l.attempt DESC NULLS LAST LIMIT 1
            """)
        guard let row = rows.first else { throw AppError(.notFound, "There is no model call \(id).", field: "interception") }
        let (name, size): (String?, Int64?) = (try row["name"], try row["answer_size"])
        return InterceptionMarks(
            token: try row["token_id", as: TokenID?.self].map { ($0, name) }, requestHash: try row["request_hash"],
            requestSize: try row["request_size"],
            answer: try row["answer_hash", as: Data?.self].flatMap { hash in size.map { (hash, $0) } })
    }
}

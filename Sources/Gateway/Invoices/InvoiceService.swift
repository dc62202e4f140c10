import Core
import Foundation
import Postgres

/// Compares invoices with the ledger. Writes nothing.
package struct InvoiceService: Sendable {
    let pool: PostgresPool
    let settings: SettingsCache

    /// The days of the invoice, from the first to the last, UTC by when calls began.
    ///
    /// - Throws: `badRequest` for a file that cannot be read; `notFound` for a provider that is not there and has no calls.
    package func reconcile(_ principal: Principal, provider: String, _ file: Data) async throws -> Reconciliation {
        let invoice = try InvoiceFile(file)
        guard let first = invoice.rows.map(\.day).min(), let last = invoice.rows.map(\.day).max() else {
            throw AppError(.badRequest, "The file has a header and no rows with a model.", field: "file")
        }
        let rows = try await pool.query(
            """
            SELECT to_char(i.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, p.model, sum(l.cost)::bigint AS cost,
                   sum(l.input_tokens + l.cache_read_input_tokens + l.cache_write_5m_tokens + l.cache_write_1h_tokens
                       + l.output_tokens)::bigint AS tokens,
                   count(*) AS calls, count(*) FILTER (WHERE l.state <> 'final') AS estimated
            FROM ai_interceptions i JOIN ai_charges l ON l.interception_id = i.id JOIN ai_prices p ON p.id = l.price_id
            WHERE i.organization_id = \(principal.organization) AND l.provider = \(provider.storable)
              AND i.started_at >= (\(first)::date)::timestamp AT TIME ZONE 'UTC'
              AND i.started_at < ((\(last)::date) + 1)::timestamp AT TIME ZONE 'UTC'
            GROUP BY 1, 2
            """)
        if rows.isEmpty, try settings.current().provider(named: provider, organization: principal.organization) == nil {
            throw AppError(.notFound, "There is no provider named '\(provider.prefix(64))', and no call of one.", field: "provider")
        }
        return Reconciliation(
            provider: provider, invoice,
            try rows.map {
                try .init(
                    day: $0["day"], model: $0["model"], cost: $0["cost"], tokens: $0["tokens"], calls: $0["calls"],
                    estimated: $0["estimated"])
            })
    }
}

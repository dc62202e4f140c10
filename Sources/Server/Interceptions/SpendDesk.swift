import API
import Core
import Foundation
import Gateway

/// Spend by whatever one asks, and as files for spreadsheets and cost tools.
package struct SpendDesk: Sendable {
    let gateway: Gateway
    let users: UserService

    /// - Parameter user: `me` or nil, `all`, or somebody's name or id.
    /// - Throws: `forbidden` and `notFound`, naming the field; `badRequest`.
    package func report(_ principal: Principal, _ query: SpendQuery, user: String?) async throws -> SpendReport {
        let (from, lines) = try await lines(principal, query, user: user)
        return SpendReport(
            by: query.by.map(\.rawValue), from: from, to: query.to, rows: lines.map(\.shown),
            costNanoDollars: lines.reduce(0) { $0 + $1.cost.value })
    }

    package func csv(_ principal: Principal, _ query: SpendQuery, user: String?) async throws -> String {
        var csv = CSV(
            query.by.map(\.rawValue) + [
                "calls", "input_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "output_tokens", "cost_usd",
            ])
        for line in try await lines(principal, query, user: user).lines {
            let row = line.shown
            let names = query.by.map { dimension -> String? in
                switch dimension {
                case .user: row.username
                case .group: row.group
                case .provider: row.provider
                case .model: row.model
                case .client: row.client
                case .task: row.taskID
                case .day: row.day
                }
            }
            csv.add(
                names
                    + [
                        "\(row.calls)", "\(row.usage.inputTokens)", "\(row.usage.cacheReadInputTokens)",
                        "\(row.usage.cacheWriteInputTokens)", "\(row.usage.outputTokens)", CSV.dollars(row.costNanoDollars),
                    ])
        }
        return csv.text
    }

    /// By day, user, provider, model, client and task, in the columns of FOCUS 1.0.
    package func focus(_ principal: Principal, _ query: SpendQuery, user: String?) async throws -> String {
        var query = query
        query.by = [.day, .user, .provider, .model, .client, .task]
        return Focus.text(
            try await lines(principal, query, user: user).lines.map(\.shown),
            organization: principal.organization.description)
    }

    private func lines(
        _ principal: Principal, _ query: SpendQuery, user: String?
    ) async throws -> (from: String, lines: [SpendLine]) {
        try await gateway.spend.spend(try await InterceptionScope(principal, user: user, among: users), query)
    }
}

extension SpendLine {
    fileprivate var shown: SpendRow {
        SpendRow(
            userID: user?.description, username: username, group: group, provider: provider, model: model, client: client,
            taskID: task?.description, day: day, calls: calls, usage: usage.shown, costNanoDollars: cost.value)
    }
}

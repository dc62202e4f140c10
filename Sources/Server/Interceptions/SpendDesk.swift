import API
import Core
import Foundation
import Gateway

/// Spend by whatever one asks, and as files for spreadsheets and cost tools.
package struct SpendDesk: Sendable {
    let gateway: Gateway

    /// - Parameter everyones: asked for; it has effect only for who may see it.
    package func report(_ principal: Principal, _ query: SpendQuery, everyones: Bool) async throws -> SpendReport {
        let (from, lines) = try await lines(principal, query, everyones: everyones)
        return SpendReport(
            by: query.by.map(\.rawValue), from: from, to: query.to, rows: lines.map(\.shown),
            costNanoDollars: lines.reduce(0) { $0 + $1.cost.value })
    }

    package func csv(_ principal: Principal, _ query: SpendQuery, everyones: Bool) async throws -> String {
        var csv = CSV(
            query.by.map(\.rawValue) + [
                "calls", "input_tokens", "cache_read_input_tokens", "cache_write_input_tokens", "output_tokens", "cost_usd",
            ])
        for line in try await lines(principal, query, everyones: everyones).lines {
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
    package func focus(_ principal: Principal, _ query: SpendQuery, everyones: Bool) async throws -> String {
        var query = query
        query.by = [.day, .user, .provider, .model, .client, .task]
        return Focus.text(
            try await lines(principal, query, everyones: everyones).lines.map(\.shown),
            organization: principal.organization.description)
    }

    private func lines(
        _ principal: Principal, _ query: SpendQuery, everyones: Bool
    ) async throws -> (from: String, lines: [SpendLine]) {
        let sees = everyones && principal.reach(of: .readInterceptions) == .everyones
        return try await gateway.spend.spend(sees ? .all(principal) : .own(principal), query)
    }
}

extension SpendLine {
    fileprivate var shown: SpendRow {
        SpendRow(
            userID: user?.description, username: username, group: group, provider: provider, model: model, client: client,
            taskID: task?.description, day: day, calls: calls, usage: usage.shown, costNanoDollars: cost.value)
    }
}

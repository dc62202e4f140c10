import Foundation

/// `GET /api/v2/ai-gateway/spend`: what calls cost that have these in common; absent where the report is not by that.
public struct SpendRow: Codable, Sendable, Equatable {
    public var userID: String?
    public var username: String?
    /// Absent also for people who are in none.
    public var group: String?
    public var provider: String?
    public var model: String?
    public var client: String?
    /// Absent also for calls of no task.
    public var taskID: String?
    /// UTC, e.g. `2026-11-21`.
    public var day: String?
    public var calls: Int
    public var usage: TokenUsage
    public var costNanoDollars: Int64

    public init(
        userID: String? = nil, username: String? = nil, group: String? = nil, provider: String? = nil, model: String? = nil,
        client: String? = nil, taskID: String? = nil, day: String? = nil, calls: Int, usage: TokenUsage, costNanoDollars: Int64
    ) {
        self.userID = userID
        self.username = username
        self.group = group
        self.provider = provider
        self.model = model
        self.client = client
        self.taskID = taskID
        self.day = day
        self.calls = calls
        self.usage = usage
        self.costNanoDollars = costNanoDollars
    }
}

public struct SpendReport: Codable, Sendable, Equatable {
    /// `user`, `group`, `provider`, `model`, `client`, `task`, `day`.
    public var by: [String]
    /// The first day, UTC.
    public var from: String
    /// The first day that is not in it; absent: until now.
    public var to: String?
    /// Dearest first.
    public var rows: [SpendRow]
    public var costNanoDollars: Int64

    public init(by: [String], from: String, to: String? = nil, rows: [SpendRow], costNanoDollars: Int64) {
        self.by = by
        self.from = from
        self.to = to
        self.rows = rows
        self.costNanoDollars = costNanoDollars
    }
}

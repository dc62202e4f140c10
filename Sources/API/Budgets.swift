import Foundation

/// A budget in the period that it is now (UTC; weeks begin on Monday).
public struct AISubjectBudget: Codable, Sendable, Equatable {
    /// `user:<name>`, `group:<name>`, `organization`, `task:<name>` or `token:<id>`.
    public var subject: String
    /// `day`, `week`, `month` or `total`.
    public var period: String
    /// The first day of the period, e.g. `2026-11-16`.
    public var start: String
    public var capNanoDollars: Int64
    /// False: it warns and refuses nothing.
    public var hard: Bool
    public var spentNanoDollars: Int64
    /// Taken by calls under way.
    public var heldNanoDollars: Int64

    public init(
        subject: String, period: String, start: String, capNanoDollars: Int64, hard: Bool, spentNanoDollars: Int64,
        heldNanoDollars: Int64
    ) {
        self.subject = subject
        self.period = period
        self.start = start
        self.capNanoDollars = capNanoDollars
        self.hard = hard
        self.spentNanoDollars = spentNanoDollars
        self.heldNanoDollars = heldNanoDollars
    }
}

/// `GET /api/v2/ai/budgets`: by subject and period. Who may not see everybody's sees those that concern the caller.
public struct AISubjectBudgetList: Codable, Sendable, Equatable {
    public var budgets: [AISubjectBudget]
    /// The cursor of the next page; absent on the last one.
    public var after: String?

    public init(budgets: [AISubjectBudget], after: String? = nil) {
        self.budgets = budgets
        self.after = after
    }
}

/// `PUT /api/v2/ai/budgets/{subject}/{period}`.
public struct SetAISubjectBudgetRequest: Codable, Sendable, Equatable {
    /// From 0 to a million dollars.
    public var capNanoDollars: Int64
    /// Absent: true.
    public var hard: Bool?

    public init(capNanoDollars: Int64, hard: Bool? = nil) {
        self.capNanoDollars = capNanoDollars
        self.hard = hard
    }
}

/// That spent and held together reached a share of a budget's cap; once per budget, period and threshold.
public struct AIBudgetAlert: Codable, Sendable, Equatable {
    public var subject: String
    public var period: String
    public var start: String
    /// Percent of the cap: 50, 85 or 100.
    public var threshold: Int
    /// What they were then.
    public var capNanoDollars: Int64
    public var spentNanoDollars: Int64
    public var heldNanoDollars: Int64
    public var at: Date

    public init(
        subject: String, period: String, start: String, threshold: Int, capNanoDollars: Int64, spentNanoDollars: Int64,
        heldNanoDollars: Int64, at: Date
    ) {
        self.subject = subject
        self.period = period
        self.start = start
        self.threshold = threshold
        self.capNanoDollars = capNanoDollars
        self.spentNanoDollars = spentNanoDollars
        self.heldNanoDollars = heldNanoDollars
        self.at = at
    }
}

/// `GET /api/v2/ai/budgets/alerts`: the newest first.
public struct AIBudgetAlertList: Codable, Sendable, Equatable {
    public var alerts: [AIBudgetAlert]
    public var after: String?

    public init(alerts: [AIBudgetAlert], after: String? = nil) {
        self.alerts = alerts
        self.after = after
    }
}

import Core
import Foundation
import ModelAPI

/// What spend can be told by.
package enum SpendDimension: String, Sendable, CaseIterable {
    case user
    /// Of those who are in it now. Who is in two counts in both, so that lines may add up to more than was spent.
    case group
    case provider, model, client, task, day
}

/// Of whose spend, and of when.
package struct SpendQuery: Sendable {
    /// Without repetition; empty: one line for everything.
    package var by: [SpendDimension] = [.user, .provider, .model]
    /// `2026-11-01`, the first day (UTC); nil: of this month.
    package var from: String?
    /// The first day that is not meant; nil: no end.
    package var to: String?
    /// 1…100,000
    package var limit = 1000

    package init() {}
}

/// What calls cost that have these in common; nil where the line is not by that.
package struct SpendLine: Sendable {
    package var user: UserID?
    package var username: String?
    /// Nil also for people who are in none.
    package var group: String?
    package var provider: String?
    package var model: String?
    package var client: String?
    /// Nil also for calls of no task.
    package var task: TaskID?
    /// E.g. `2026-11-21`.
    package var day: String?
    package var calls: Int
    package var usage: Usage
    package var cost: NanoDollars
}

import Core
import Foundation

/// How fast some calls may be made. Every limit that matches a call applies to it.
///
/// **How it is kept.** Each limit (or, for `isPerUser`, each limit and user) has one row in `ai_rate_counters`. The transaction that takes
/// the holds of a batch locks the rows its calls need, behind their budgets and in ascending order, asks `RatePlan`, and writes what was
/// taken in its second round trip: no query of its own, and none at all for calls that no limit matches. Settlements correct the tokens
/// and give the place among the calls under way back.
///
/// **What is exact.** All replicas decide on the same locked row, so there is no error between them:
/// - *Requests*: in no 60 seconds more calls are let through than the limit says. The window is 13 slots of five seconds, so what was
///   counted comes back after 60 to 65 seconds: up to five seconds late, never early.
/// - *Tokens*: a call counts with the most it can have (input bound and longest answer, as its hold), until it is settled with what it had.
///   In no 60 seconds more is counted than the limit says, but for (1) a call that alone may exceed it: it passes when nothing else
///   is counted, and (2) what a provider reports beyond the bound.
/// - *Concurrency*: never more calls between hold and settlement than the limit says. A replica that was killed keeps its places until its
///   calls are reaped: four seconds after its last heartbeat, and up to two more.
/// - *Fallbacks*: a call is counted where it goes first, which is not a target whose circuit is open or whose keys rest. When that fails and it is sent to another provider or model, the limits of that one
///   do not count it.
/// - A clock of the database that jumps back by over a minute empties the windows once; by less, it stops them for as long.
package struct RateLimit: Sendable, Equatable {
    package var id: UUID
    package var organization: OrganizationID
    package var name: String
    /// Nil: calls of anybody.
    package var user: UserID?
    package var username: String?
    /// A provider's name; nil: any.
    package var provider: String?
    /// Where `*` stands for any characters; nil: any.
    package var model: String?
    /// Each user has the whole of it.
    package var isPerUser: Bool
    package var bounds: Bounds

    package struct Bounds: Sendable, Equatable {
        package var requestsPerMinute: Int64?
        package var tokensPerMinute: Int64?
        package var concurrency: Int64?

        package init(requestsPerMinute: Int64? = nil, tokensPerMinute: Int64? = nil, concurrency: Int64? = nil) {
            self.requestsPerMinute = requestsPerMinute
            self.tokensPerMinute = tokensPerMinute
            self.concurrency = concurrency
        }
    }

    /// The highest number of anything.
    package static let highest: Int64 = 1_000_000_000_000

    func matches(_ call: NewInterception, at target: Target) -> Bool {
        guard organization == call.organization else { return false }
        if let user, user != call.initiator { return false }
        if let provider, provider != target.provider.name { return false }
        if let model, !ToolPattern.matches(model, target.model) { return false }
        return true
    }
}

/// The counter that a call uses of a limit.
struct RateUse: Sendable, Hashable {
    var limit: UUID
    /// The user's id, or the limit's where all share it.
    var subject: UUID
    var hasConcurrency: Bool
}

/// The limits that apply to a call, found without asking the database.
struct RateLimits: Sendable {
    let all: [RateLimit]

    init(_ all: [RateLimit] = []) { self.all = all }

    func uses(of call: NewInterception, at target: Target) -> [RateUse] {
        if all.isEmpty { return [] }
        return all.filter { $0.matches(call, at: target) }.map {
            RateUse(
                limit: $0.id, subject: $0.isPerUser ? call.initiator.uuid : $0.id, hasConcurrency: $0.bounds.concurrency != nil)
        }
    }
}

import Core
import Foundation

/// Whose spending a budget bounds.
package enum BudgetSubject: Hashable, Sendable {
    case user(UserID)
    case group(UUID)
    case organization(OrganizationID)
    case task(TaskID)
    case token(TokenID)

    package enum Kind: String, Sendable, CaseIterable { case user, group, organization, task, token }

    package var kind: Kind {
        switch self {
        case .user: .user
        case .group: .group
        case .organization: .organization
        case .task: .task
        case .token: .token
        }
    }

    package var id: UUID {
        switch self {
        case .user(let id): id.uuid
        case .group(let id): id
        case .organization(let id): id.uuid
        case .task(let id): id.uuid
        case .token(let id): id.uuid
        }
    }

    init(_ kind: Kind, _ id: UUID) {
        self =
            switch kind {
            case .user: .user(UserID(id))
            case .group: .group(id)
            case .organization: .organization(OrganizationID(id))
            case .task: .task(TaskID(id))
            case .token: .token(TokenID(id))
            }
    }
}

/// How long a budget counts before it begins anew. UTC, by the database's clock; weeks begin on Monday (ISO 8601).
package enum BudgetPeriod: String, Sendable, CaseIterable {
    case day, week, month
    /// Never begins anew.
    case total

    /// For people: the period that began on `start`, which is `2026-11-16` or the like.
    func name(from start: String) -> String {
        switch self {
        case .day: start
        case .week: "the week from \(start)"
        case .month: String(start.prefix(7))
        case .total: "all time"
        }
    }
}

/// A budget besides the users' monthly ones.
struct BudgetRule: Sendable, Equatable {
    var id: UUID
    var organization: OrganizationID
    var subject: BudgetSubject
    var period: BudgetPeriod
    /// As people name the subject: `group:devs`, `organization`.
    var name: String
}

/// The budgets that apply to a call, found without asking the database.
struct BudgetRules: Sendable {
    private var bySubject: [BudgetSubject: [BudgetRule]] = [:]
    /// Of users that are members of groups with budgets.
    private var groups: [UserID: [UUID]] = [:]

    init() {}

    init(_ rules: [BudgetRule], groups: [UserID: [UUID]]) {
        for rule in rules { bySubject[rule.subject, default: []].append(rule) }
        self.groups = groups
    }

    /// Those of the caller, of the groups that the caller is in, of the organization, the task and the token.
    func applying(to call: NewInterception) -> [BudgetRule] {
        if bySubject.isEmpty { return [] }
        var subjects: [BudgetSubject] = [.user(call.initiator), .organization(call.organization)]
        for group in groups[call.initiator] ?? [] { subjects.append(.group(group)) }
        if let task = call.task { subjects.append(.task(task)) }
        if let token = call.token { subjects.append(.token(token)) }
        return subjects.flatMap { bySubject[$0] ?? [] }.filter { $0.organization == call.organization }
    }
}

import API
import Core
import Gateway
import Hummingbird

/// `/api/v2/users/{user}/ai/budget`.
struct BudgetRoutes: Sendable {
    let gateway: Gateway
    let users: UserService

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.users + "/{user}/ai/budget", .readBudgets, show)
        table.on(.put, APIPaths.users + "/{user}/ai/budget", .changeBudgets, set)
        table.on(.delete, APIPaths.users + "/{user}/ai/budget", .changeBudgets, remove)
        table.on(.get, APIPaths.budgets, .readBudgets, list)
        table.on(.get, APIPaths.budgets + "/alerts", .readBudgets, alerts)
        table.on(.put, APIPaths.budgets + "/{subject}/{period}", .changeBudgets, setSubject)
        table.on(.delete, APIPaths.budgets + "/{subject}/{period}", .changeBudgets, removeSubject)
    }

    // MARK: Of anything that can have one

    @Sendable func list(_ call: Call) async throws -> Response {
        let page = try await gateway.budgets.list(
            call.principal, everyones: call.reach == .everyones, try call.incoming.page())
        return try .json(AISubjectBudgetList(budgets: page.items.map(\.shown), after: page.next))
    }

    @Sendable func alerts(_ call: Call) async throws -> Response {
        let page = try await gateway.budgets.alerts(
            call.principal, everyones: call.reach == .everyones, try call.incoming.page())
        return try .json(AIBudgetAlertList(alerts: page.items.map(\.shown), after: page.next))
    }

    @Sendable func setSubject(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(SetAISubjectBudgetRequest.self)
        let budget = try await gateway.budgets.set(
            call.principal, subject: try call.incoming.path("subject"), period: try call.incoming.path("period"),
            cap: NanoDollars(wanted.capNanoDollars), isHard: wanted.hard ?? true)
        return try .json(budget.shown)
    }

    @Sendable func removeSubject(_ call: Call) async throws -> Response {
        try await gateway.budgets.remove(
            call.principal, subject: try call.incoming.path("subject"), period: try call.incoming.path("period"))
        return .noContent
    }

    // MARK: A user's month

    @Sendable func show(_ call: Call) async throws -> Response {
        let user = try await users.get(call.principal, try call.incoming.path("user"))
        return try .json(try await gateway.budgets.show(call.principal, user: user.id).shown)
    }

    @Sendable func set(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(SetAIBudgetRequest.self)
        let user = try await users.get(call.principal, try call.incoming.path("user"))
        let cap = wanted.capNanoDollars.map { NanoDollars($0) }
        return try .json(try await gateway.budgets.set(call.principal, user: user.id, cap: cap).shown)
    }

    @Sendable func remove(_ call: Call) async throws -> Response {
        let user = try await users.get(call.principal, try call.incoming.path("user"))
        return try .json(try await gateway.budgets.set(call.principal, user: user.id, cap: nil).shown)
    }
}

extension SubjectBudget {
    fileprivate var shown: AISubjectBudget {
        AISubjectBudget(
            subject: subject, period: period.rawValue, start: start, capNanoDollars: cap.value, hard: isHard,
            spentNanoDollars: spent.value, heldNanoDollars: held.value)
    }
}

extension BudgetAlert {
    fileprivate var shown: AIBudgetAlert {
        AIBudgetAlert(
            subject: subject, period: period.rawValue, start: start, threshold: threshold, capNanoDollars: cap.value,
            spentNanoDollars: spent.value, heldNanoDollars: held.value, at: at)
    }
}

extension Budget {
    var shown: AIBudget {
        AIBudget(
            userID: user.description, username: username, period: period, capNanoDollars: cap?.value, spentNanoDollars: spent.value,
            heldNanoDollars: held.value)
    }
}

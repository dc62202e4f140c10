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
    }

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

extension Budget {
    var shown: AIBudget {
        AIBudget(
            userID: user.description, username: username, period: period, capNanoDollars: cap?.value, spentNanoDollars: spent.value,
            heldNanoDollars: held.value)
    }
}

import API
import Core
import Gateway
import HTTPTypes
import Hummingbird

/// `/api/v2/ai/limits`.
struct RateLimitRoutes: Sendable {
    let gateway: Gateway
    let users: UserService

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.limits, .readLimits, list)
        table.on(.put, APIPaths.limits + "/{limit}", .changeLimits, put)
        table.on(.delete, APIPaths.limits + "/{limit}", .changeLimits, delete)
    }

    @Sendable func list(_ call: Call) async throws -> Response {
        let limits = try await gateway.limits.list(call.principal, everyones: call.reach == .everyones)
        return try .json(AIRateLimitList(limits: limits.map(\.shown)))
    }

    @Sendable func put(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(SetAIRateLimitRequest.self)
        var user: UserID?
        if let name = wanted.user {
            do { user = try await users.get(call.principal, name).id } catch var error as AppError {
                error.field = "user"
                throw error
            }
        }
        let shown = try await gateway.limits.put(
            call.principal, name: try call.incoming.path("limit"),
            .init(
                user: user, provider: wanted.provider, model: wanted.model, isPerUser: wanted.perUser ?? false,
                bounds: .init(
                    requestsPerMinute: wanted.requestsPerMinute, tokensPerMinute: wanted.tokensPerMinute,
                    concurrency: wanted.concurrency)))
        return try .json(shown.shown)
    }

    @Sendable func delete(_ call: Call) async throws -> Response {
        try await gateway.limits.delete(call.principal, name: try call.incoming.path("limit"))
        return .noContent
    }
}

extension RateLimitService.Shown {
    fileprivate var shown: AIRateLimit {
        AIRateLimit(
            name: limit.name, user: limit.username, provider: limit.provider, model: limit.model, perUser: limit.isPerUser,
            requestsPerMinute: limit.bounds.requestsPerMinute, tokensPerMinute: limit.bounds.tokensPerMinute,
            concurrency: limit.bounds.concurrency, open: open)
    }
}

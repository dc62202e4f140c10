import API
import Core
import Gateway
import HTTPTypes
import Hummingbird

/// `/api/v2/ai/routes`.
struct ModelRouteRoutes: Sendable {
    let gateway: Gateway

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.modelRoutes, .readModels, list)
        table.on(.put, APIPaths.modelRoutes + "/{route}", .changeModelPolicies, put)
        table.on(.delete, APIPaths.modelRoutes + "/{route}", .changeModelPolicies, delete)
    }

    @Sendable func list(_ call: Call) async throws -> Response {
        try .json(ModelRouteList(routes: try gateway.routes.list(call.principal).map(\.shown)))
    }

    @Sendable func put(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(PutModelRouteRequest.self)
        let route = try await gateway.routes.put(
            call.principal, name: try call.incoming.path("route"), targets: wanted.targets,
            hedge: try wanted.hedge.map {
                try HedgeRule(
                    after: $0.after, floorMilliseconds: $0.floorMilliseconds, samples: $0.samples, sharePercent: $0.sharePercent)
            })
        return try .json(route.shown)
    }

    @Sendable func delete(_ call: Call) async throws -> Response {
        try await gateway.routes.delete(call.principal, name: try call.incoming.path("route"))
        return .noContent
    }
}

extension ModelRoute {
    fileprivate var shown: AIModelRoute { AIModelRoute(name: name, targets: texts, hedge: hedge?.shown) }
}

extension HedgeRule {
    fileprivate var shown: AIRouteHedge {
        AIRouteHedge(
            after: after.text, floorMilliseconds: Int(floor / .milliseconds(1)), samples: samples, sharePercent: share)
    }
}

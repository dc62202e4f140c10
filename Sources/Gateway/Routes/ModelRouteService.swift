import Core
import Postgres

/// Creates, changes and lists routes.
package struct ModelRouteService: Sendable {
    let store: ModelRouteStore
    let settings: SettingsCache
    let facts: AuditFacts

    package func list(_ principal: Principal) throws -> [ModelRoute] { try settings.current().routes(of: principal.organization) }

    /// - Parameters:
    ///   - targets: as `ModelRoute.tiers(_:)` reads them.
    ///   - hedge: nil: calls are never sent twice.
    /// - Throws: `badRequest` for a name or target that is none; `notFound` for a provider that is not there.
    package func put(_ principal: Principal, name: String, targets: [String], hedge: HedgeRule? = nil) async throws -> ModelRoute {
        guard (1...128).contains(name.utf8.count), name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x2F }) else {
            throw AppError(
                .badRequest, "The name '\(name.prefix(128))' must be 1 to 128 printable ASCII characters without '/'.",
                field: "name")
        }
        let route = ModelRoute(name: name, organization: principal.organization, tiers: try ModelRoute.tiers(targets), hedge: hedge)
        let current = try settings.current()
        for choice in route.tiers.flatMap({ $0 }) {
            guard current.provider(named: choice.provider, organization: principal.organization) != nil else {
                throw AppError(
                    .notFound, "There is no provider named '\(choice.provider)'; 'slipway providers list' shows them.",
                    field: "targets")
            }
        }
        var details = ["targets": route.texts.joined(separator: " ")]
        if let hedge {
            details["hedge"] = "\(hedge.after.text), \(hedge.floor.milliseconds) ms, \(hedge.samples) samples, \(hedge.share) %"
        }
        let fact = try AuditFacts.Fact(principal, kind: "route.put", subject: name, details)
        try await facts.record { [store] connection in
            try await store.put(route, connection)
            return ((), [fact])
        }
        try await settings.refresh()
        return route
    }

    package func delete(_ principal: Principal, name: String) async throws {
        let fact = try AuditFacts.Fact(principal, kind: "route.delete", subject: name)
        try await facts.record { [store] connection in
            guard try await store.delete(principal.organization, name, connection) else {
                throw AppError(
                    .notFound, "There is no route named '\(name.prefix(128))'; 'slipway routes list' shows them.", field: "name")
            }
            return ((), [fact])
        }
        try await settings.refresh()
    }
}

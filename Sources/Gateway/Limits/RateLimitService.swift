import Core
import Foundation

/// Sets, shows and removes limits; in force everywhere within two seconds.
package struct RateLimitService: Sendable {
    let store: RateLimitStore
    let settings: SettingsCache
    let facts: AuditFacts

    package static let mostLimits = 1000

    /// What a limit is made of, besides its name.
    package struct Change: Sendable {
        package var user: UserID?
        package var provider: String?
        package var model: String?
        package var isPerUser: Bool
        package var bounds: RateLimit.Bounds

        package init(
            user: UserID? = nil, provider: String? = nil, model: String? = nil, isPerUser: Bool = false, bounds: RateLimit.Bounds
        ) {
            self.user = user
            self.provider = provider
            self.model = model
            self.isPerUser = isPerUser
            self.bounds = bounds
        }
    }

    /// A limit, and how many of its calls are under way.
    package struct Shown: Sendable {
        package var limit: RateLimit
        package var open: Int64
    }

    /// Creates the limit of this name or replaces it.
    /// - Throws: `badRequest`, naming the field.
    @discardableResult
    package func put(_ principal: Principal, name: String, _ change: Change) async throws -> Shown {
        try ProviderRules.check(name: name, longest: 64)
        try Self.check(change)
        if let provider = change.provider,
            try settings.current().provider(named: provider, organization: principal.organization) == nil
        {
            throw AppError(
                .notFound, "There is no provider named '\(provider.prefix(80))'; see slipway providers list.", field: "provider")
        }
        guard try settings.current().governance.limits.all.count < Self.mostLimits else {
            throw AppError(.conflict, "There are \(Self.mostLimits) limits already; delete one first: slipway limits delete.")
        }
        let limit = RateLimit(
            id: UUID(), organization: principal.organization, name: name, user: change.user, provider: change.provider,
            model: change.model, isPerUser: change.isPerUser, bounds: change.bounds)
        try await facts.record { connection in
            try await RateLimitStore.put(connection, limit)
            func text(_ number: Int64?) -> String { number.map { "\($0)" } ?? "none" }
            let fact = try AuditFacts.Fact(
                organization: principal.organization, actor: principal.user, kind: "limit.set", subject: name,
                [
                    "user": change.user?.description ?? "any", "provider": change.provider ?? "any", "model": change.model ?? "any",
                    "per_user": "\(change.isPerUser)", "requests_per_minute": text(change.bounds.requestsPerMinute),
                    "tokens_per_minute": text(change.bounds.tokensPerMinute), "concurrency": text(change.bounds.concurrency),
                ])
            return ((), [fact])
        }
        try await settings.refresh()
        return try await show(principal, name: name)
    }

    package func delete(_ principal: Principal, name: String) async throws {
        let existed = try await facts.record { connection in
            guard try await RateLimitStore.delete(connection, principal.organization, name: name) else { return (false, []) }
            let fact = try AuditFacts.Fact(
                organization: principal.organization, actor: principal.user, kind: "limit.delete", subject: name, [:])
            return (true, [fact])
        }
        guard existed else { throw Self.missing(name) }
        try await settings.refresh()
    }

    package func show(_ principal: Principal, name: String) async throws -> Shown {
        guard let shown = try await list(principal, everyones: true).first(where: { $0.limit.name == name }) else {
            throw Self.missing(name)
        }
        return shown
    }

    /// By name; at most a thousand.
    /// - Parameter everyones: false: those that can apply to the caller.
    package func list(_ principal: Principal, everyones: Bool) async throws -> [Shown] {
        let open = try await store.open(principal.organization)
        return try settings.current().governance.limits.all.filter {
            $0.organization == principal.organization && (everyones || $0.user == nil || $0.user == principal.user)
        }.map { Shown(limit: $0, open: open[$0.id] ?? 0) }
    }

    private static func check(_ change: Change) throws {
        let bounds = [
            ("requests_per_minute", change.bounds.requestsPerMinute), ("tokens_per_minute", change.bounds.tokensPerMinute),
            ("concurrency", change.bounds.concurrency),
        ]
        for (field, value) in bounds {
            if let value, !(0...RateLimit.highest).contains(value) {
                throw AppError(.badRequest, "\(field) is \(value); it must be from 0 to \(RateLimit.highest).", field: field)
            }
        }
        if bounds.allSatisfy({ $0.1 == nil }) {
            throw AppError(
                .badRequest, "A limit needs one of requests_per_minute, tokens_per_minute and concurrency.",
                field: "requests_per_minute")
        }
        if let model = change.model, !(1...300).contains(model.utf8.count) {
            throw AppError(
                .badRequest, "model has \(model.utf8.count) bytes; expected 1 to 300, where * stands for any characters.",
                field: "model")
        }
    }

    private static func missing(_ name: String) -> AppError {
        AppError(.notFound, "There is no limit named '\(name.prefix(80))'; see slipway limits show.", field: "limit")
    }
}

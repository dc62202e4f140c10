import Core
import Foundation
import Gateway
import Postgres

/// The rules of API tokens.
package struct TokenService: Sendable {
    static let usualLifetime = Duration.seconds(30 * 24 * 3600)
    private static let longestLifetime = Duration.seconds(366 * 24 * 3600)

    private let store: TokenStore
    private let changes: TokenChanges

    package init(pool: PostgresPool, facts: AuditFacts) {
        store = TokenStore(pool: pool)
        changes = TokenChanges(facts: facts)
    }

    /// - Parameter lifetime: from a second to 366 days; nil: the usual 30 days.
    package func create(
        _ principal: Principal, name: String, scope: String?, lifetime: Duration?
    ) async throws -> (key: Secret<String>, token: TokenRecord) {
        guard let scope = TokenScope(rawValue: scope ?? "all") else {
            throw AppError(
                .badRequest,
                "'\(scope ?? "")' is no scope; there are \(TokenScope.allCases.map(\.rawValue).joined(separator: ", ")).",
                field: "scope")
        }
        guard principal.scope.covers(scope) else {
            throw AppError(.forbidden, "A token cannot make one that may do more than itself.", field: "scope")
        }
        return try await issue(principal.organization, principal.user, name: name, scope: scope, lifetime: lifetime)
    }

    /// For somebody who has just logged in.
    package func issue(
        _ organization: OrganizationID, _ user: UserID, name: String, scope: TokenScope, lifetime: Duration?
    ) async throws -> (key: Secret<String>, token: TokenRecord) {
        let name = name.trimmingCharacters(in: .whitespaces)
        guard (1...64).contains(name.count) else {
            throw AppError(.badRequest, "A token's name has 1 to 64 characters.", field: "name")
        }
        let lifetime = lifetime ?? Self.usualLifetime
        guard (.seconds(1)...Self.longestLifetime).contains(lifetime) else {
            throw AppError(
                .badRequest, "A token lives from a second to 366 days, which are \(Self.longestLifetime.components.seconds) s.",
                field: "lifetime_seconds")
        }
        let credential = Credential.token()
        let token = try await changes.insert(
            organization, user, name: name, credential: credential, scope: scope, lifetime: lifetime)
        return (credential.text, token)
    }

    package func list(_ principal: Principal, everyones: Bool, _ page: PageRequest) async throws -> Page<TokenRecord> {
        let mayAll = principal.reach(of: .listTokens) == .everyones
        return try await store.list(principal.organization, user: everyones && mayAll ? nil : principal.user, page)
    }

    package func revoke(_ principal: Principal, _ token: TokenID) async throws {
        let mayAll = principal.reach(of: .revokeToken) == .everyones
        guard try await changes.revoke(principal, user: mayAll ? nil : principal.user, token) else {
            throw AppError(.notFound, "There is no such token.", field: "token")
        }
    }
}

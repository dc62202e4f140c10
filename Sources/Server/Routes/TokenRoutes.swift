import API
import Core
import Hummingbird

/// `/api/v2/tokens`: API tokens.
struct TokenRoutes: Sendable {
    let tokens: TokenService

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.tokens, .listTokens, list)
        table.on(.post, APIPaths.tokens, .createToken, create)
        table.on(.delete, APIPaths.tokens + "/{token}", .revokeToken, revoke)
    }

    /// Own tokens; with `?all=true` everybody's, for who may see them.
    @Sendable func list(_ call: Call) async throws -> Response {
        let page = try await tokens.list(
            call.principal, everyones: call.incoming.query("all") == "true", try call.incoming.page())
        return try .json(TokenList(tokens: page.items.map(\.shown), after: page.next))
    }

    @Sendable func create(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(CreateTokenRequest.self)
        let (key, token) = try await tokens.create(
            call.principal, name: wanted.name, scope: wanted.scope, lifetime: wanted.lifetimeSeconds.map { .seconds($0) })
        return try .json(CreateTokenResponse(key: key.reveal(), token: token.shown), status: .created)
    }

    @Sendable func revoke(_ call: Call) async throws -> Response {
        try await tokens.revoke(call.principal, try call.incoming.id("token"))
        return .noContent
    }
}

extension TokenRecord {
    var shown: Token {
        Token(
            id: id.description, userID: user.description, username: username, name: name, hint: hint, scope: scope.rawValue,
            createdAt: createdAt, expiresAt: expiresAt, revokedAt: revokedAt, lastUsedAt: lastUsedAt)
    }
}

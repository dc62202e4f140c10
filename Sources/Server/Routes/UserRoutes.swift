import API
import Core
import HTTPTypes
import Hummingbird

/// `/api/v2/users`: accounts, log-in and log-out.
struct UserRoutes: Sendable {
    let users: UserService
    let tokens: TokenService
    let authenticator: Authenticator

    func register(on table: RouteTable) {
        table.open(.get, APIPaths.firstUser, .createFirstUser, firstState)
        table.open(.post, APIPaths.firstUser, .createFirstUser, createFirst)
        table.open(.post, APIPaths.login, .logIn, logIn)
        table.on(.post, APIPaths.logout, .logOut, logOut)
        table.on(.get, APIPaths.users, .listUsers, list)
        table.on(.post, APIPaths.users, .createUser, create)
        table.on(.get, APIPaths.users + "/{user}", .readSelf, get)
        table.on(.put, APIPaths.users + "/{user}/password", .changeOwnPassword, setPassword)
        table.on(.put, APIPaths.users + "/{user}/roles", .changeUser, setRoles)
        table.on(.put, APIPaths.users + "/{user}/status/suspend", .changeUser) { try await setSuspended($0, true) }
        table.on(.put, APIPaths.users + "/{user}/status/activate", .changeUser) { try await setSuspended($0, false) }
    }

    @Sendable func firstState(_ incoming: Incoming) async throws -> Response {
        try .json(FirstUserState(exists: try await users.anyExists()))
    }

    @Sendable func createFirst(_ incoming: Incoming) async throws -> Response {
        let wanted = try await incoming.json(CreateFirstUserRequest.self)
        if wanted.tokenName == nil { try authenticator.checkOrigin(of: incoming.request) }
        let user = try await users.createFirst(
            setupCode: wanted.setupCode, username: wanted.username, email: wanted.email, password: Secret(wanted.password),
            address: incoming.clientAddress)
        return try await welcome(user, tokenName: wanted.tokenName, incoming)
    }

    @Sendable func logIn(_ incoming: Incoming) async throws -> Response {
        let wanted = try await incoming.json(LoginRequest.self)
        if wanted.tokenName == nil { try authenticator.checkOrigin(of: incoming.request) }
        let user = try await users.logIn(
            username: wanted.username, password: Secret(wanted.password), address: incoming.clientAddress)
        return try await welcome(user, tokenName: wanted.tokenName, incoming)
    }

    /// A token for a program, a cookie for a browser.
    private func welcome(_ user: UserRecord, tokenName: String?, _ incoming: Incoming) async throws -> Response {
        if let tokenName {
            let (key, token) = try await tokens.issue(user.organization, user.id, name: tokenName, scope: .all, lifetime: nil)
            let body = LoginResponse(user: user.shown, token: key.reveal(), tokenExpiresAt: token.expiresAt)
            return try .json(body, status: .created)
        }
        let session = try await users.openSession(user, address: incoming.clientAddress, userAgent: incoming.header(.userAgent))
        var response = try Response.json(LoginResponse(user: user.shown, token: nil, tokenExpiresAt: nil), status: .created)
        response.headers[.setCookie] = authenticator.cookie.setting(session.reveal(), maxAge: SessionStore.lifetime)
        return response
    }

    @Sendable func logOut(_ call: Call) async throws -> Response {
        if let id = authenticator.sessionID(of: call.incoming.request) { try await users.closeSession(id) }
        if let token = call.principal.token { try await tokens.revoke(call.principal, token) }
        var response = Response.noContent
        response.headers[.setCookie] = authenticator.cookie.clearing
        return response
    }

    @Sendable func list(_ call: Call) async throws -> Response {
        let page = try await users.list(call.principal, try call.incoming.page())
        return try .json(UserList(users: page.items.map(\.shown), after: page.next))
    }

    @Sendable func create(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(CreateUserRequest.self)
        let user = try await users.create(
            call.principal, username: wanted.username, email: wanted.email, password: Secret(wanted.password),
            roles: wanted.roles ?? ["member"])
        return try .json(user.shown, status: .created)
    }

    @Sendable func get(_ call: Call) async throws -> Response {
        try .json(try await users.get(call.principal, try call.incoming.path("user")).shown)
    }

    @Sendable func setPassword(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(ChangePasswordRequest.self)
        try await users.setPassword(
            call.principal, try call.incoming.path("user"), old: wanted.oldPassword.map { Secret($0) },
            new: Secret(wanted.password),
            address: call.incoming.clientAddress)
        return .noContent
    }

    @Sendable func setRoles(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(ChangeRolesRequest.self)
        return try .json(try await users.setRoles(call.principal, try call.incoming.path("user"), wanted.roles).shown)
    }

    private func setSuspended(_ call: Call, _ isSuspended: Bool) async throws -> Response {
        try .json(try await users.setSuspended(call.principal, try call.incoming.path("user"), isSuspended).shown)
    }
}

extension UserRecord {
    var shown: User {
        User(
            id: id.description, organizationID: organization.description, username: username, email: email,
            roles: roles.map(\.rawValue).sorted(), status: isSuspended ? "suspended" : "active", createdAt: createdAt,
            lastSeenAt: lastSeenAt)
    }
}

import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// Signing in and out, the first account, and the files that pages need.
struct AccountPages: Sendable {
    let responder: PageResponder
    let users: UserService
    let authenticator: Authenticator

    func register(on table: RouteTable) {
        table.open(.get, "/", .logIn) { _ in responder.seeOther("/tasks") }
        table.open(.get, "/login", .logIn, showLogin)
        table.open(.post, "/login", .logIn, logIn)
        table.open(.post, "/setup", .createFirstUser, createFirst)
        table.page(.post, "/logout", .logOut, failed: responder.failed, logOut)
        for (file, type) in Self.assets {
            table.open(.get, "/assets/\(file)", .readHealth) { incoming in Self.asset(file, type, incoming) }
        }
    }

    // MARK: Accounts

    @Sendable private func showLogin(_ incoming: Incoming) async throws -> Response {
        try await loginPage(error: nil, next: incoming.query("next")?.removingPercentEncoding ?? "/", status: .ok)
    }

    @Sendable private func logIn(_ incoming: Incoming) async throws -> Response {
        try authenticator.checkOrigin(of: incoming.request)
        let form = try await incoming.form()
        do {
            let user = try await users.logIn(
                username: form["username"], password: Secret(form["password"]), address: incoming.clientAddress)
            return try await welcome(user, next: form["next"], incoming)
        } catch let error as AppError {
            return try await loginPage(
                error: error.message, next: form["next"], username: form["username"], status: error.status)
        }
    }

    @Sendable private func createFirst(_ incoming: Incoming) async throws -> Response {
        try authenticator.checkOrigin(of: incoming.request)
        let form = try await incoming.form()
        do {
            let user = try await users.createFirst(
                setupCode: form["code"], username: form["username"], email: form["email"].isEmpty ? nil : form["email"],
                password: Secret(form["password"]), address: incoming.clientAddress)
            return try await welcome(user, next: form["next"], incoming)
        } catch let error as AppError {
            return try await loginPage(
                error: error.message, next: form["next"], username: form["username"], email: form["email"], code: form["code"],
                status: error.status)
        }
    }

    @Sendable private func logOut(_ call: Call) async throws -> Response {
        if let id = authenticator.sessionID(of: call.incoming.request) { try await users.closeSession(id) }
        var response = responder.seeOther("/login")
        response.headers[.setCookie] = authenticator.cookie.clearing
        return response
    }

    private func welcome(_ user: UserRecord, next: String, _ incoming: Incoming) async throws -> Response {
        let session = try await users.openSession(user, address: incoming.clientAddress, userAgent: incoming.header(.userAgent))
        var response = responder.seeOther(PageResponder.localPath(next))
        response.headers[.setCookie] = authenticator.cookie.setting(session.reveal(), maxAge: SessionStore.lifetime)
        return response
    }

    private func loginPage(
        error: String?, next: String, username: String = "", email: String = "", code: String = "", status: HTTPResponse.Status
    ) async throws -> Response {
        let setup = try await !users.anyExists()
        return try responder.page(
            LoginPage(
                frame: PageFrame(title: setup ? "First account" : "Sign in", principal: nil), setup: setup, error: error,
                next: next,
                code: code, usernameValue: username, emailValue: email),
            status: status)
    }

    // MARK: Assets

    private static let assets = [
        ("slipway.css", "text/css; charset=utf-8"), ("live.js", "text/javascript; charset=utf-8"), ("mark.svg", "image/svg+xml"),
    ]

    private static func asset(_ file: String, _ type: String, _ incoming: Incoming) -> Response {
        let text = Embedded.files[file] ?? ""
        // A new build has new bytes: browsers ask each time, and are told in one round trip that nothing changed.
        let tag = "\"\(text.utf8.count)-\(SlipwayVersion.current)-\(Self.checksum(text))\""
        if incoming.header(.ifNoneMatch) == tag { return Response(status: .notModified, headers: [.eTag: tag]) }
        return Response(
            status: .ok, headers: [.contentType: type, .eTag: tag, .cacheControl: "no-cache"],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    /// FNV-1a: tells two builds' files apart, nothing more.
    private static func checksum(_ text: String) -> String {
        String(text.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }, radix: 16)
    }
}

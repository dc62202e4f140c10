import Core
import Crypto
import Foundation
import HTTPTransport
import ModelAPI
import NIOCore
import Postgres

/// Users who authorize Slipway at servers of tools: authorization code with PKCE, and the next token when one is old.
///
/// The browser comes back to a page that shows a code, which the user gives to `slipway mcp login`. So whoever begins a log-in is who
/// ends it: a link to the authorization server that somebody else sends brings nobody's authorization into that other's hands.
package struct ToolLogins: Sendable {
    static let patience = Duration.seconds(15)
    static let longestAnswer = 256 << 10

    let servers: ToolServerService
    let transport: HTTPTransport
    private let refresh = TokenRefresh()
    var now: @Sendable () -> Date = { Date() }

    private var store: ToolServerStore { servers.store }

    /// Where the user's browser has to go.
    ///
    /// - Parameter redirect: the page of ours that shows the code.
    package func begin(_ principal: Principal, name: String, redirect: String) async throws -> String {
        let server = try await servers.access(principal, name).server
        guard server.auth == .oauth else {
            throw AppError(
                .conflict, "The MCP server '\(name)' takes no authorization: 'slipway mcp show \(name)' says what it needs.")
        }
        let (metadata, scopes) = try await discover(server)
        let client = try await client(of: server, metadata, redirect)
        let grant = OAuthGrant(
            clientID: client.id, clientSecret: client.secret, tokenEndpoint: metadata.tokenEndpoint, redirect: redirect,
            verifier: OAuthGrant.random(), resource: server.url)
        let state = OAuthGrant.random()
        try await store.keep(grant, state: state, principal, server)
        return grant.authorizeURL(metadata.authorizationEndpoint, state: state, scopes: scopes)
    }

    /// - Parameter code: as our page shows it, `<state>.<code>`.
    package func finish(_ principal: Principal, name: String, code: String) async throws {
        let server = try await servers.access(principal, name).server
        guard let dot = code.firstIndex(of: "."), code.utf8.count <= 4096 else { throw Self.unknownCode }
        guard let grant = try await store.takeGrant(state: String(code[..<dot]), principal, server) else { throw Self.unknownCode }
        // The code is for what the server was when the user went there.
        guard grant.resource == server.url else { throw ToolServerService.moved(name) }
        let body = try await post(
            grant.tokenEndpoint, grant.exchange(code: String(code[code.index(after: dot)...])), form: true, server)
        let tokens = try OAuthTokens(body, grant: grant, now: now())
        try await servers.signIn(principal, server, tokens)
    }

    /// The same access with a token that is good, if it can be had.
    func fresh(_ access: ToolServerStore.Access, _ principal: Principal) async throws -> ToolServerStore.Access {
        guard let tokens = access.tokens, tokens.isOld(at: now()) else { return access }
        let server = access.server
        var access = access
        let now = now
        access.tokens = try await refresh.fresh(access, principal, store, isOld: { $0.isOld(at: now()) }) { old in
            guard let body = old.refreshing else { throw Self.over(server) }
            var next = old
            do {
                try next.take(try await post(old.tokenEndpoint, body, form: true, server), now: now())
            } catch let error as AppError where error.code == .upstream && error.retry == .never {
                throw Self.over(server, error)
            }
            return next
        }
        return access
    }

    // MARK: Finding out

    private func discover(_ server: ToolServer) async throws -> (OAuthMetadata, [String]) {
        var places = OAuthMetadata.wellKnown("oauth-protected-resource", of: server.url)
        let probe = try await transport.send(request("POST", server.url, body: "{}", type: "application/json", server))
        if let place = OAuthMetadata.resourceMetadata(inChallenge: probe.header("www-authenticate")) { places.insert(place, at: 0) }
        var issuer = ToolServerCheck.origin(of: server.url)
        var scopes: [String] = []
        for place in places {
            if let found = try await get(place, server).flatMap(OAuthMetadata.resource) {
                (issuer, scopes) = found
                break
            }
        }
        for place in OAuthMetadata.places(ofIssuer: issuer) {
            if let json = try await get(place, server), JSONText.isObject(json) {
                let metadata = try OAuthMetadata(json, issuer: issuer)
                for url in [
                    metadata.authorizationEndpoint, metadata.tokenEndpoint, metadata.registrationEndpoint ?? metadata.issuer,
                ] {
                    try check(url, server)
                }
                return (metadata, scopes)
            }
        }
        throw AppError(
            .upstream, "The MCP server '\(server.name)' does not say where people authorize clients (RFC 9728, RFC 8414).",
            source: .upstream)
    }

    private func client(of server: ToolServer, _ metadata: OAuthMetadata, _ redirect: String) async throws -> (
        id: String, secret: String?
    ) {
        if let id = server.oauthClientID { return (id, nil) }
        guard let endpoint = metadata.registrationEndpoint else {
            throw AppError(
                .conflict,
                "The authorization server of '\(server.name)' registers no clients by itself: an admin registers Slipway there with the redirect URI \(redirect) and sets oauth_client_id."
            )
        }
        let answer = try await post(endpoint, OAuthGrant.registration(redirect: redirect), form: false, server)
        guard let fields = JSONObjectText(answer), let id = fields.string("client_id") else {
            throw OAuthMetadata.failure("did not register Slipway as a client")
        }
        return (id, fields.string("client_secret"))
    }

    // MARK: Requests

    /// Nil when there is nothing.
    private func get(_ url: String, _ server: ToolServer) async throws -> String? {
        try check(url, server)
        let response = try await transport.send(request("GET", url, body: nil, type: nil, server))
        let body = try await response.body.collect(upTo: Self.longestAnswer)
        return response.status == 200 ? String(buffer: body) : nil
    }

    private func post(_ url: String, _ body: String, form: Bool, _ server: ToolServer) async throws -> String {
        try check(url, server)
        let type = form ? "application/x-www-form-urlencoded" : "application/json"
        let response = try await transport.send(request("POST", url, body: body, type: type, server))
        let text = String(buffer: try await response.body.collect(upTo: Self.longestAnswer))
        guard (200..<300).contains(response.status) || response.status == 400 || response.status == 401 else {
            throw AppError(
                .upstream, "The authorization server of '\(server.name)' answers with status \(response.status).",
                source: .upstream,
                retry: response.status >= 500 ? .after(.seconds(2)) : .never)
        }
        return text
    }

    private func request(_ method: String, _ url: String, body: String?, type: String?, _ server: ToolServer) -> HTTPClientRequest {
        var headers: [(name: String, value: String)] = [("accept", "application/json"), ("user-agent", "slipway/0.1.0")]
        if let type { headers.append(("content-type", type)) }
        var request = HTTPClientRequest(
            method: method, url: url, headers: headers, body: body.map { ByteBuffer(string: $0) },
            timeouts: .init(connect: .seconds(10), firstByte: Self.patience, idle: Self.patience, total: Self.patience),
            allowPrivateAddresses: server.allowsPrivateAddresses)
        // Codes and refresh tokens are good once.
        request.freshConnection = method == "POST"
        return request
    }

    /// Tokens do not cross the network in clear, but where an admin allowed the house's own.
    private func check(_ url: String, _ server: ToolServer) throws {
        guard url.hasPrefix("https://") || (server.allowsPrivateAddresses && url.hasPrefix("http://")),
            url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { throw OAuthMetadata.failure("names the URL '\(url.prefix(200))', which is not https") }
    }

    private static let unknownCode = AppError(
        .badRequest,
        "This is no code of a log-in that you began within the last ten minutes: begin again with 'slipway mcp login SERVER'.",
        field: "code")

    private static func over(_ server: ToolServer, _ cause: (any Error)? = nil) -> AppError {
        AppError(
            .forbidden,
            "Your authorization at the MCP server '\(server.name)' is over: use 'slipway mcp login \(server.name)' again.",
            cause: cause)
    }
}

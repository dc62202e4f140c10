import Core
import HTTPTypes
import Hummingbird

/// Finds out who sends a request: an API token in a header, or the session cookie of a browser.
package struct Authenticator: Sendable {
    package let snapshot: CredentialSnapshot
    package let users: UserService
    package let cookie: SessionCookie
    package let accessURL: String

    package init(snapshot: CredentialSnapshot, users: UserService, cookie: SessionCookie, accessURL: String) {
        self.snapshot = snapshot
        self.users = users
        self.cookie = cookie
        self.accessURL = accessURL
    }

    /// - Throws: `unauthenticated`, `unavailable`; `forbidden` for a browser's request from another site.
    package func principal(of request: Request) async throws -> Principal {
        if let token = Self.token(in: request.headers) { return try await snapshot.authenticate(token) }
        if let principal = try await sessionPrincipal(of: request) { return principal }
        throw AppError(
            .unauthenticated,
            "This needs a token: send it as 'Authorization: Bearer …', 'X-Api-Key' or 'Coder-Session-Token', or run 'slipway login'."
        )
    }

    /// Tokens alone: the door for model calls never looks at cookies.
    package func principalByToken(of request: Request) async throws -> Principal {
        try await principalByToken(in: request.headers)
    }

    package func principalByToken(in headers: HTTPFields) async throws -> Principal {
        guard let token = Self.token(in: headers) else {
            throw AppError(
                .unauthenticated, "This needs a Slipway token as 'Authorization: Bearer …', 'X-Api-Key' or 'Coder-Session-Token'.")
        }
        return try await snapshot.authenticate(token)
    }

    /// Who sends this, if memory alone can tell: for whoever must not wait. Nil says nothing but "ask `principalByToken`".
    package func knownByToken(in headers: HTTPFields) -> Principal? { Self.token(in: headers).flatMap(snapshot.known) }

    /// Nil when the browser has no session. Pages use this to send people to the log-in page instead of showing an error.
    /// - Throws: `forbidden` when an unsafe request does not come from Slipway's own pages.
    package func sessionPrincipal(of request: Request) async throws -> Principal? {
        guard let id = sessionID(of: request), let principal = try await users.principal(ofSession: id) else { return nil }
        try checkOrigin(of: request)
        return principal
    }

    package func sessionID(of request: Request) -> String? {
        request.headers[values: .cookie].joined(separator: ";").isEmpty
            ? nil : cookie.value(in: request.headers[values: .cookie].joined(separator: ";"))
    }

    /// For whatever a browser can be made to send by itself, log-in included.
    package func checkOrigin(of request: Request) throws {
        let isAllowed = OriginRule.allows(
            method: request.method.rawValue, origin: request.headers[.origin], fetchSite: request.headers[.secFetchSite],
            accessURL: accessURL, host: request.head.authority)
        guard isAllowed else {
            throw AppError(.forbidden, "This request does not come from Slipway's own pages (Origin or Sec-Fetch-Site).")
        }
    }

    static func token(in headers: HTTPFields) -> String? {
        if let value = headers[.authorization] {
            let text = value.utf8
            let scheme = "bearer ".utf8
            if text.count > scheme.count, zip(text, scheme).allSatisfy({ $0 | 0x20 == $1 }) {
                return String(value[value.utf8.index(value.startIndex, offsetBy: scheme.count)...].drop { $0 == " " })
            }
        }
        // The last two are what Google's and Azure's clients send their keys in.
        return headers[.coderSessionToken] ?? headers[.xAPIKey] ?? headers[.xGoogAPIKey] ?? headers[.apiKey]
    }
}

extension HTTPField.Name {
    package static let coderSessionToken = HTTPField.Name("Coder-Session-Token")!
    package static let xAPIKey = HTTPField.Name("X-Api-Key")!
    package static let xGoogAPIKey = HTTPField.Name("X-Goog-Api-Key")!
    package static let apiKey = HTTPField.Name("Api-Key")!
    package static let secFetchSite = HTTPField.Name("Sec-Fetch-Site")!
    package static let xRequestID = HTTPField.Name("X-Request-Id")!
    package static let xForwardedFor = HTTPField.Name("X-Forwarded-For")!
    package static let xContentTypeOptions = HTTPField.Name("X-Content-Type-Options")!
    package static let xFrameOptions = HTTPField.Name("X-Frame-Options")!
    package static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
}

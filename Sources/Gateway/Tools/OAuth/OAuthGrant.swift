import Core
import Crypto
import Foundation
import ModelAPI

/// One log-in under way: what the browser is sent with, and what the code is exchanged by.
struct OAuthGrant: Sendable, Codable, Equatable {
    var clientID: String
    var clientSecret: String?
    var tokenEndpoint: String
    var redirect: String
    var verifier: String
    /// The server that tokens are for (RFC 8707).
    var resource: String

    /// 256 random bits, as RFC 7636 §4.1 wants them.
    static func random() -> String {
        SymmetricKey(size: .bits256).withUnsafeBytes { base64URL(Data($0)) }
    }

    /// RFC 7636 §4.2, S256.
    static func challenge(of verifier: String) -> String { base64URL(Data(SHA256.hash(data: Data(verifier.utf8)))) }

    static func base64URL(_ data: Data) -> String {
        data.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    /// Where the browser goes.
    func authorizeURL(_ endpoint: String, state: String, scopes: [String]) -> String {
        var fields = [
            ("response_type", "code"), ("client_id", clientID), ("redirect_uri", redirect), ("state", state),
            ("code_challenge", Self.challenge(of: verifier)), ("code_challenge_method", "S256"), ("resource", resource),
        ]
        if !scopes.isEmpty { fields.append(("scope", scopes.joined(separator: " "))) }
        return endpoint + (endpoint.contains("?") ? "&" : "?") + Self.form(fields)
    }

    /// The body that exchanges a code (RFC 6749 §4.1.3).
    func exchange(code: String) -> String {
        Self.form(
            [
                ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect), ("client_id", clientID),
                ("code_verifier", verifier), ("resource", resource),
            ] + (clientSecret.map { [("client_secret", $0)] } ?? []))
    }

    static func form(_ fields: [(String, String)]) -> String {
        let plain = CharacterSet(charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
        return fields.map { "\($0)=\($1.addingPercentEncoding(withAllowedCharacters: plain) ?? "")" }.joined(separator: "&")
    }

    /// The body of a client's registration (RFC 7591).
    static func registration(redirect: String) -> String {
        """
        {"client_name":"Slipway","redirect_uris":[\(JSONText.quoted(redirect))],"grant_types":["authorization_code","refresh_token"],\
        "response_types":["code"],"token_endpoint_auth_method":"none"}
        """
    }
}

/// What a user authorized Slipway with.
struct OAuthTokens: Sendable, Codable, Equatable {
    var access: String
    var refresh: String?
    /// Nil: the authorization server does not say.
    var expiresAt: Date?
    var clientID: String
    var clientSecret: String?
    var tokenEndpoint: String
    var resource: String

    /// From the answer of a token endpoint (RFC 6749 §5.1).
    ///
    /// - Throws: `upstream` saying what the server says, never with a token.
    init(_ json: String, grant: OAuthGrant, now: Date) throws {
        self.init(
            access: "", refresh: nil, expiresAt: nil, clientID: grant.clientID, clientSecret: grant.clientSecret,
            tokenEndpoint: grant.tokenEndpoint, resource: grant.resource)
        try take(json, now: now)
    }

    private init(
        access: String, refresh: String?, expiresAt: Date?, clientID: String, clientSecret: String?, tokenEndpoint: String,
        resource: String
    ) {
        self.access = access
        self.refresh = refresh
        self.expiresAt = expiresAt
        self.clientID = clientID
        self.clientSecret = clientSecret
        self.tokenEndpoint = tokenEndpoint
        self.resource = resource
    }

    /// A refresh token that is not given anew stays good (RFC 6749 §6).
    mutating func take(_ json: String, now: Date) throws {
        let fields = JSONObjectText(json)
        guard let token = fields?.string("access_token"), fields?.string("token_type")?.lowercased() == "bearer",
            (1...8000).contains(token.utf8.count), token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else {
            let said = fields?.string("error").map { " (\($0.prefix(60)))" } ?? ""
            throw OAuthMetadata.failure("gave no bearer token\(said)")
        }
        access = token
        refresh = fields?.string("refresh_token") ?? refresh
        expiresAt = fields?["expires_in"].flatMap { Double($0) }.map { now.addingTimeInterval(min(max($0, 0), 31_536_000)) }
    }

    /// A minute before its end it is too old: the call takes time, too.
    func isOld(at now: Date) -> Bool { expiresAt.map { $0.timeIntervalSince(now) < 60 } ?? false }

    var headers: [ToolServer.Header] { [.init(name: "Authorization", value: "Bearer \(access)")] }

    /// The body that gets the next token (RFC 6749 §6); nil when there is no way to.
    var refreshing: String? {
        guard let refresh else { return nil }
        return OAuthGrant.form(
            [
                ("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", clientID), ("resource", resource),
            ] + (clientSecret.map { [("client_secret", $0)] } ?? []))
    }
}

import Core
import Foundation
import ModelAPI

/// Where a server of tools says that people authorize clients: RFC 9728 (protected resources), RFC 8414 (authorization servers).
struct OAuthMetadata: Sendable, Equatable, Codable {
    var issuer: String
    var authorizationEndpoint: String
    var tokenEndpoint: String
    var registrationEndpoint: String?

    // MARK: Where to look

    /// The value of `resource_metadata` in a `WWW-Authenticate` header (RFC 9728 §5.1).
    static func resourceMetadata(inChallenge header: String?) -> String? {
        guard let header, let start = header.range(of: "resource_metadata=\"", options: .caseInsensitive) else { return nil }
        let value = header[start.upperBound...].prefix { $0 != "\"" }
        return value.isEmpty ? nil : String(value)
    }

    /// The well-known places of a URL's metadata, the most specific first: the path goes behind the well-known name.
    static func wellKnown(_ name: String, of url: String) -> [String] {
        let origin = ToolServerCheck.origin(of: url)
        let path = path(of: url)
        return path.isEmpty
            ? ["\(origin)/.well-known/\(name)"] : ["\(origin)/.well-known/\(name)\(path)", "\(origin)/.well-known/\(name)"]
    }

    /// Also OpenID Connect's places, one of which has its name behind the path.
    static func places(ofIssuer issuer: String) -> [String] {
        let path = path(of: issuer)
        var places = [wellKnown("oauth-authorization-server", of: issuer)[0], wellKnown("openid-configuration", of: issuer)[0]]
        if !path.isEmpty { places.append(ToolServerCheck.origin(of: issuer) + path + "/.well-known/openid-configuration") }
        return places
    }

    private static func path(of url: String) -> String {
        let rest = url.dropFirst(ToolServerCheck.origin(of: url).count).prefix { $0 != "?" && $0 != "#" }
        return String(rest.hasSuffix("/") ? rest.dropLast() : rest)
    }

    // MARK: What is found

    /// What a protected resource says of itself: its authorization server and the scopes that there are.
    static func resource(_ json: String) -> (issuer: String, scopes: [String])? {
        guard let fields = JSONObjectText(json), let servers = fields["authorization_servers"].flatMap(JSONText.elements),
            let issuer = servers.lazy.compactMap(JSONText.string).first
        else { return nil }
        let scopes = (fields["scopes_supported"].flatMap(JSONText.elements) ?? []).compactMap(JSONText.string)
        return (issuer, scopes)
    }

    /// - Throws: `upstream` for metadata that is another issuer's, or of a server without PKCE.
    init(_ json: String, issuer: String) throws {
        guard let fields = JSONObjectText(json), let authorize = fields.string("authorization_endpoint"),
            let token = fields.string("token_endpoint")
        else { throw Self.failure("describes itself without an authorization and a token endpoint") }
        func plain(_ url: String?) -> String? { url.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 } }
        guard plain(fields.string("issuer")) == plain(issuer) else {
            throw Self.failure("describes itself as another issuer than \(issuer)")
        }
        let methods = (fields["code_challenge_methods_supported"].flatMap(JSONText.elements) ?? []).compactMap(JSONText.string)
        // Without it a stolen code could be exchanged by whoever stole it (MCP 2025-06-18, "Authorization Code Protection").
        guard methods.contains("S256") else { throw Self.failure("does not offer PKCE with S256") }
        self.issuer = issuer
        authorizationEndpoint = authorize
        tokenEndpoint = token
        registrationEndpoint = fields.string("registration_endpoint")
    }

    static func failure(_ what: String) -> AppError {
        AppError(.upstream, "The authorization server of the MCP server \(what).", source: .upstream)
    }
}

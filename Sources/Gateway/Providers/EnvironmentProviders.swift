import Core

/// Providers that come from environment variables: there when the server starts with them, never stored.
package enum EnvironmentProviders {
    /// `ANTHROPIC_API_KEY`, `OPENAI_API_KEY` and `GEMINI_API_KEY`, each with its `…_BASE_URL`.
    package static func read(_ environment: [String: String], organization: OrganizationID) throws -> [Provider] {
        try [
            provider(.anthropic, "ANTHROPIC", url: "https://api.anthropic.com", name: "Anthropic", environment, organization),
            provider(.openai, "OPENAI", url: "https://api.openai.com/v1", name: "OpenAI", environment, organization),
            provider(
                .gemini, "GEMINI", url: "https://generativelanguage.googleapis.com", name: "Gemini", environment, organization),
        ].compactMap { $0 }
    }

    /// The scripted model under both protocols: `demo` speaks Messages, `demo-openai` Chat Completions.
    package static func demo(baseURL: String, organization: OrganizationID) -> [Provider] {
        [("demo", ProviderType.anthropic), ("demo-openai", .openai)].map { name, type in
            Provider(
                id: ProviderID(), organization: organization, name: name, displayName: "Scripted model (no AI)", type: type,
                baseURL: baseURL, isEnabled: true, allowsPrivateAddresses: true, origin: .demo,
                keys: [.init(secret: Secret("scripted"), hint: "scripted")])
        }
    }

    private static func provider(
        _ type: ProviderType, _ prefix: String, url: String, name: String, _ environment: [String: String],
        _ organization: OrganizationID
    ) throws -> Provider? {
        guard let key = environment["\(prefix)_API_KEY"], !key.isEmpty else { return nil }
        let baseURL = environment["\(prefix)_BASE_URL"].flatMap { $0.isEmpty ? nil : $0 } ?? url
        try ProviderRules.check(baseURL: baseURL, field: "\(prefix)_BASE_URL")
        let secret = Secret(key)
        try ProviderRules.check(key: secret, field: "\(prefix)_API_KEY")
        // Whoever starts the server with a base URL of a machine nearby means it.
        return Provider(
            id: ProviderID(), organization: organization, name: type.rawValue, displayName: name, type: type, baseURL: baseURL,
            isEnabled: true, allowsPrivateAddresses: baseURL != url, origin: .environment,
            keys: [.init(secret: secret, hint: secret.hint)])
    }
}

enum ProviderRules {
    static func check(baseURL: String, field: String) throws {
        let rest =
            baseURL.hasPrefix("https://") ? baseURL.dropFirst(8) : baseURL.hasPrefix("http://") ? baseURL.dropFirst(7) : ""
        guard !rest.isEmpty, !rest.hasPrefix("/"), baseURL.utf8.count <= 2048,
            baseURL.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), !rest.contains(where: { "@?#".contains($0) })
        else {
            throw AppError(
                .badRequest, "The base URL '\(baseURL)' is not http(s)://host[:port][/path], without user, query or fragment.",
                field: field)
        }
    }

    static func check(key: Secret<String>, field: String) throws {
        let bytes = key.reveal().utf8
        guard (1...4096).contains(bytes.count), bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw AppError(.badRequest, "A provider key must be 1 to 4096 printable ASCII characters without spaces.", field: field)
        }
    }

    static func check(name: String, longest: Int = 32) throws {
        let letters = name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D }
        guard letters, (1...longest).contains(name.utf8.count), !name.hasPrefix("-"), !name.hasSuffix("-"), !name.contains("--")
        else {
            throw AppError(
                .badRequest, "The name '\(name)' must be 1 to \(longest) of a-z, 0-9 and single hyphens inside, e.g. my-provider.",
                field: "name")
        }
    }
}

import Core
import ModelAPI

/// A place that model calls are sent to, as `/api/v2/ai-gateway/<name>/…`.
package struct Provider: Sendable, Equatable {
    package var id: ProviderID
    package var organization: OrganizationID
    package var name: String
    package var displayName: String
    package var type: ProviderType
    package var baseURL: String
    package var isEnabled: Bool
    package var allowsPrivateAddresses: Bool
    package var origin: Origin
    /// In the order in which they are used; never shown.
    package var keys: [Key]
    package var settings = CallSettings()

    package enum Origin: String, Sendable { case database, environment, demo }

    package struct Key: Sendable, Equatable {
        package var secret: Secret<String>
        package var hint: String

        /// Of a provider that asks for none.
        static let none = Key(secret: Secret(""), hint: "none")
    }

    /// Those that can be used: servers that imitate OpenAI's often ask for no key.
    var usableKeys: [Key] { keys.isEmpty && type == .openai ? [.none] : keys }

    /// Nil: it speaks the client's protocol. Else what a call is translated into.
    func format(for api: ModelProtocol, model: String) -> UpstreamFormat? {
        let spoken = settings.protocols ?? type.protocols
        if spoken.contains(api) { return nil }
        if type.protocols.count > 1, spoken == [.responses] { return .responses }
        return type == .bedrock ? BedrockModel(model).format : type.format
    }

    /// The URL for a route such as `v1/messages?beta=true`. A base URL that ends in the version the route begins with
    /// (`https://api.openai.com/v1`, as OpenAI's own clients want it) has it once.
    func url(for route: String) -> String {
        var base = Substring(baseURL)
        while base.hasSuffix("/") { base.removeLast() }
        if base.hasSuffix("/v1"), route.hasPrefix("v1/") { base.removeLast(3) }
        return "\(base)/\(route)"
    }
}

import ModelAPI

/// Whose API a provider speaks; prices are by this type.
package enum ProviderType: String, Sendable, Codable, CaseIterable {
    case anthropic
    /// OpenAI itself and the many servers that imitate it.
    case openai
    /// OpenAI's models in Azure's v1 API: the base URL is `https://<resource>.openai.azure.com/openai/v1`.
    case azure
    case gemini
    /// Models on Amazon Bedrock: Claude by `InvokeModel`, all others by `Converse` (`BedrockModel`). The base URL is `https://bedrock-runtime.<region>.amazonaws.com`; a key is a Bedrock API key, or
    /// `<access key id>:<secret access key>[:<session token>]`.
    case bedrock

    /// What it speaks byte for byte, the one that is preferred first.
    package var protocols: [ModelProtocol] {
        switch self {
        case .anthropic: [.messages]
        case .openai, .azure: [.chatCompletions, .responses]
        case .gemini: [.gemini]
        case .bedrock: []
        }
    }

    /// What it is spoken to in, when a client speaks something else.
    var format: UpstreamFormat {
        switch self {
        case .anthropic: .messages
        case .openai, .azure: .chatCompletions
        case .gemini: .gemini
        // Claude's; other models there have another (`Provider.format`).
        case .bedrock: .bedrockMessages
        }
    }

    /// Where a model's price is looked for, in this order: a cloud sells the models of another at that one's prices.
    var priceTypes: [ProviderType] { self == .azure ? [.azure, .openai] : [self] }

    /// The header that carries the provider's key. Bedrock's requests may be signed instead (`BedrockSigning`).
    func authentication(_ key: String) -> (name: String, value: String) {
        switch self {
        case .anthropic: ("x-api-key", key)
        case .openai, .bedrock: ("authorization", "Bearer \(key)")
        case .azure: ("api-key", key)
        case .gemini: ("x-goog-api-key", key)
        }
    }

    /// Nil: every customer has one of its own.
    var usualURL: String? {
        switch self {
        case .anthropic: "https://api.anthropic.com"
        case .openai: "https://api.openai.com/v1"
        case .azure, .bedrock: nil
        case .gemini: "https://generativelanguage.googleapis.com"
        }
    }
}

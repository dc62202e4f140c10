/// The class of service a provider gave a call, where it prices them apart.
package enum ServiceTier: String, Sendable, Hashable, Codable, CaseIterable {
    case standard
    case priority
    /// OpenAI: slower and cheaper.
    case flex
    case batch

    /// Reads the word of a request's `service_tier`. Nil: `auto`, or a word that is not known here: any of them may come.
    ///
    /// Anthropic knows `auto` and `standard_only`; OpenAI `auto`, `default`, `flex`, `priority`, and `scale` for capacity paid ahead.
    package init?(word: String) {
        switch word {
        case "standard", "standard_only", "default", "scale": self = .standard
        case "priority", "fast": self = .priority
        case "flex": self = .flex
        case "batch": self = .batch
        default: return nil
        }
    }

    /// What is booked: the provider's word counts, then the request's, else it is the standard one.
    package static func applied(requested: ServiceTier?, reported: ServiceTier?) -> ServiceTier {
        reported ?? requested ?? .standard
    }
}

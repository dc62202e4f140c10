import Core
import Foundation

/// An alias of models: calls of `/api/v2/ai-gateway/auto/…` with this name as their model go to the first of its targets that answers.
package struct ModelRoute: Sendable, Equatable {
    /// What stands in the place of a provider's name for calls that are routed.
    package static let path = "auto"

    package struct Choice: Sendable, Hashable, Codable {
        package var provider: String
        package var model: String
        /// Its share within the tier, 1 to 1000.
        package var weight: Int

        package init(provider: String, model: String, weight: Int = 1) {
            self.provider = provider
            self.model = model
            self.weight = weight
        }
    }

    package var name: String
    package var organization: OrganizationID
    /// Tried one after the other. Within a tier the weights say which target comes first; the others follow.
    package var tiers: [[Choice]]
    /// Nil: its calls are never sent twice.
    package var hedge: HedgeRule?

    package init(name: String, organization: OrganizationID, tiers: [[Choice]], hedge: HedgeRule? = nil) {
        self.name = name
        self.organization = organization
        self.tiers = tiers
        self.hedge = hedge
    }

    /// The targets in the order in which a call tries them.
    ///
    /// Weighted rendezvous hashing: the same seed gets the same order on every replica, and changes it only when its own target goes,
    /// so a session stays where its prompt cache is.
    package func order(seed: String) -> [Choice] {
        tiers.flatMap { tier in
            tier.count < 2 ? tier : tier.map { ($0, Self.score($0, seed)) }.sorted { $0.1 < $1.1 }.map(\.0)
        }
    }

    /// Smaller wins; of an exponential distribution with the weight as its rate, so shares are exactly by weight.
    private static func score(_ choice: Choice, _ seed: String) -> Double {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in "\(seed)\u{0}\(choice.provider)/\(choice.model)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        // The last multiplication leaves the high bits of short inputs poor.
        hash = (hash ^ (hash >> 33)) &* 0xff51_afd7_ed55_8ccd
        hash = (hash ^ (hash >> 33)) &* 0xc4ce_b9fe_1a85_ec53
        hash ^= hash >> 33
        let unit = (Double(hash >> 11) + 0.5) / Double(1 << 53)
        return -log(unit) / Double(choice.weight)
    }
}

extension ModelRoute {
    /// Reads the targets as they are written: tiers one after the other, a comma within a tier, a weight behind a star:
    /// `["anthropic/claude-haiku-4-5", "openai/gpt-5-mini*3,azure/gpt-5-mini*1"]`.
    ///
    /// - Throws: `badRequest` that names the target.
    package static func tiers(_ texts: [String]) throws -> [[Choice]] {
        guard (1...10).contains(texts.count) else {
            throw AppError(.badRequest, "A route needs 1 to 10 targets in a row; it has \(texts.count).", field: "targets")
        }
        let tiers = try texts.map { text in try text.split(separator: ",", omittingEmptySubsequences: false).map { try choice($0) }
        }
        let all = tiers.flatMap { $0 }
        guard all.count <= 20 else {
            throw AppError(.badRequest, "A route can have 20 targets; it has \(all.count).", field: "targets")
        }
        for target in Dictionary(grouping: all, by: { "\($0.provider)/\($0.model)" }) where target.value.count > 1 {
            throw AppError(.badRequest, "The target '\(target.key)' is there twice; name it once.", field: "targets")
        }
        return tiers
    }

    private static func choice(_ text: Substring) throws -> Choice {
        var weight = 1
        var name = text
        if let star = text.lastIndex(of: "*") {
            guard let number = Int(text[text.index(after: star)...]), (1...1000).contains(number) else {
                throw AppError(
                    .badRequest,
                    "The weight of '\(text.prefix(200))' must be a whole number from 1 to 1000, e.g. openai/gpt-5-mini*3.",
                    field: "targets")
            }
            weight = number
            name = text[..<star]
        }
        guard let slash = name.firstIndex(of: "/") else {
            throw AppError(
                .badRequest, "The target '\(text.prefix(200))' is not <provider>/<model>, e.g. anthropic/claude-haiku-4-5.",
                field: "targets")
        }
        let provider = String(name[..<slash])
        let model = String(name[name.index(after: slash)...])
        try ProviderRules.check(name: provider)
        guard (1...256).contains(model.utf8.count), model.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x2A }) else {
            throw AppError(
                .badRequest, "The model of '\(text.prefix(200))' must be 1 to 256 printable ASCII characters without '*'.",
                field: "targets")
        }
        return Choice(provider: provider, model: model, weight: weight)
    }

    /// As `tiers(_:)` reads them.
    package var texts: [String] {
        tiers.map { $0.map { "\($0.provider)/\($0.model)" + ($0.weight == 1 ? "" : "*\($0.weight)") }.joined(separator: ",") }
    }
}

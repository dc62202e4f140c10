import Core
import ModelAPI

/// What one class of service costs: by the length of the input, each class of token.
package struct PriceTable: Sendable, Hashable, Codable {
    package var standard: PriceClasses
    /// By `above`, ascending: the highest one that the input passes prices the whole call.
    package var tiers: [ModelPrice.LongContext]?

    package init(standard: PriceClasses, tiers: [ModelPrice.LongContext] = []) {
        self.standard = standard
        self.tiers = tiers.isEmpty ? nil : tiers
    }

    /// - Parameter tokens: all input, cached or not. A tier begins one token above its border.
    package func classes(forInput tokens: TokenCount) -> PriceClasses {
        tiers?.last { tokens > $0.above }?.price ?? standard
    }

    /// All that could price a call whose input is at most this long: a bound may lie beyond a border that the real number does not
    /// reach, and nothing says that longer is dearer.
    func reachable(upTo tokens: TokenCount) -> [PriceClasses] {
        [standard] + (tiers ?? []).filter { tokens > $0.above }.map(\.price)
    }

    /// - Throws: `badRequest` for borders that do not rise.
    func check(_ model: String) throws {
        let borders = (tiers ?? []).map(\.above)
        guard borders.allSatisfy({ $0 > 0 }), zip(borders, borders.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw AppError(
                .badRequest, "The long-context tiers of \(model) must begin above 0 tokens and rise; they are \(borders).",
                field: "long_context")
        }
    }
}

import Core
import ModelAPI

/// What a call may cost at most, and the least with which it is worth beginning.
package struct HoldDemand: Sendable, Equatable {
    /// The whole answer at its longest. At most `BudgetService.highestCap` where a call is held, so that no sum over a batch overflows.
    package var full: NanoDollars
    /// The input and 256 tokens of output; equal to `full` for answers that cannot be cut.
    package var least: NanoDollars
    /// Input and output together, at most.
    package var tokens: TokenCount

    /// Output tokens without which a call is not begun.
    package static let leastOutput: TokenCount = 256

    /// - Parameters:
    ///   - inputTokens: an upper bound.
    ///   - outputTokens: what all answers of the call may have together.
    ///   - canBeCut: streamed answers can be ended where the money ends.
    ///   - requested: the class of service that the request names; nil: any may come, and the dearest is held.
    package init(
        price: ModelPrice, inputTokens: TokenCount, outputTokens: TokenCount, webSearches: Int, canBeCut: Bool,
        requested: ServiceTier? = .standard
    ) {
        // The bound may lie on the dear side of a price step that the real number does not reach, never the other way round.
        full = price.ceiling(
            inputTokens: inputTokens, outputTokens: outputTokens, webSearches: webSearches, requested: requested)
        let least = price.ceiling(
            inputTokens: inputTokens, outputTokens: min(outputTokens, Self.leastOutput), webSearches: webSearches,
            requested: requested)
        self.least = canBeCut ? least : full
        tokens = inputTokens.addingReportingOverflow(outputTokens).overflow ? .max : inputTokens + outputTokens
    }

    package init(full: NanoDollars, least: NanoDollars, tokens: TokenCount = 0) {
        self.full = full
        self.least = least
        self.tokens = tokens
    }
}

/// Takes holds out of locked budgets, one call after the other. A call gets its whole demand, or what is left if that is enough to
/// begin with, or nothing.
struct HoldPlan: Sendable {
    struct Budget: Sendable, Equatable {
        var id: Int64
        /// Nil: no limit.
        var cap: NanoDollars?
        var spent: NanoDollars
        var held: NanoDollars
        /// False: what is beyond the cap is told, not refused.
        var isHard = true
        /// Of this plan.
        var taken = NanoDollars.zero

        /// Nil: as much as anybody wants.
        var left: NanoDollars? { isHard ? cap.map { $0 - spent - held - taken } : nil }
    }

    enum Outcome: Sendable, Equatable {
        case granted(NanoDollars)
        /// The budget that is short, and what is left in it.
        case refused(budget: Int64, left: NanoDollars)
    }

    private(set) var budgets: [Int64: Budget]

    init(_ budgets: [Budget]) { self.budgets = Dictionary(uniqueKeysWithValues: budgets.map { ($0.id, $0) }) }

    /// - Parameter ids: the budgets that apply, all of which must give the amount.
    mutating func take(_ demand: HoldDemand, from ids: [Int64]) -> Outcome {
        var amount = demand.full
        for id in ids {
            guard let left = budgets[id]?.left else { continue }
            if left < demand.least { return .refused(budget: id, left: max(left, .zero)) }
            amount = min(amount, left)
        }
        for id in ids { budgets[id]?.taken.value += amount.value }
        return .granted(amount)
    }

    /// What is to be added to `held`, by budget.
    var taken: [Budget] { budgets.values.filter { $0.taken != .zero }.sorted { $0.id < $1.id } }
}

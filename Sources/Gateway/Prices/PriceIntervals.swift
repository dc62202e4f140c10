import Core
import Foundation

/// The rule of validity: prices of one line follow each other and never overlap. A price without an end ends where the next begins.
enum PriceIntervals {
    /// - Parameter prices: of one layer and organization.
    /// - Throws: `conflict` naming the model and both intervals.
    static func check(_ prices: [ModelPrice]) throws {
        for line in Dictionary(grouping: prices, by: \.name).values {
            let sorted = line.sorted { $0.validFrom < $1.validFrom }
            for (earlier, later) in zip(sorted, sorted.dropFirst()) {
                guard earlier.validFrom == later.validFrom || earlier.validTo.map({ $0 > later.validFrom }) == true else {
                    continue
                }
                throw AppError(
                    .conflict, "Two prices of \(later.name) overlap: \(text(earlier)) and \(text(later)).", field: "valid_from")
            }
        }
    }

    static func text(_ price: ModelPrice) -> String {
        "from \(stamp(price.validFrom)) \(price.validTo.map { "to \(stamp($0))" } ?? "without an end")"
    }

    static func stamp(_ date: Date) -> String {
        let whole = date.microseconds % 1_000_000 == 0
        return date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: !whole))
    }
}

/// How a price gets its place in a line: what is withdrawn, and what is written.
struct PricePlacement: Sendable, Equatable {
    var withdrawn: [ModelPrice] = []
    var added: [ModelPrice] = []

    /// A price that begins later than all others and has no end follows them. One with an end lets the last go on behind it. What
    /// else overlaps is refused, or with `replacing` cut to what the new one leaves of it.
    ///
    /// - Parameters:
    ///   - line: the prices so far.
    ///   - moved: makes a price with other instants.
    /// - Throws: `conflict` naming the prices that overlap.
    init(
        _ price: ModelPrice, among line: [ModelPrice], replacing: Bool, moved: (ModelPrice, Date, Date?) throws -> ModelPrice
    ) throws {
        let sorted = line.sorted { $0.validFrom < $1.validFrom }
        let ends = zip(sorted, sorted.dropFirst().map(\.validFrom) + [.distantFuture]).map { min($0.validTo ?? .distantFuture, $1) }
        let overlapping = zip(sorted, ends).filter { $1 > price.validFrom && $0.validFrom < price.validTo ?? .distantFuture }
        added = [price]
        if overlapping.isEmpty { return }
        if overlapping.count == 1, let last = overlapping.first?.0, last.id == sorted.last?.id, last.validTo == nil,
            last.validFrom < price.validFrom
        {
            // It ends by itself where the new one begins.
            if let end = price.validTo { added.append(try moved(last, end, nil)) }
            return
        }
        guard replacing else {
            let names = overlapping.prefix(3).map { PriceIntervals.text($0.0) }.joined(separator: "; ")
            throw AppError(
                .conflict,
                "The price of \(price.name) \(PriceIntervals.text(price)) overlaps with what is in the book: \(names). Say --replace (\"replace\": true) to put it in their place.",
                field: "valid_from")
        }
        for (old, end) in overlapping {
            withdrawn.append(old)
            if old.validFrom < price.validFrom { added.append(try moved(old, old.validFrom, price.validFrom)) }
            if let newEnd = price.validTo, end > newEnd {
                added.append(try moved(old, newEnd, end == .distantFuture ? nil : end))
            }
        }
    }
}

import Core
import Foundation
import ModelAPI
import Postgres

/// Re-rating: calls of a period are priced anew by the book as it is now. Ledger rows stay; what differs becomes corrections.
package struct RerateService: Sendable {
    let store: CorrectionStore
    let settings: SettingsCache
    let facts: AuditFacts

    package struct Request: Sendable {
        package var from: Date
        package var to: Date
        package var model: String?
        /// False: only says what would be corrected.
        package var isApplied: Bool

        package init(from: Date, to: Date, model: String? = nil, isApplied: Bool = false) {
            self.from = from
            self.to = to
            self.model = model
            self.isApplied = isApplied
        }
    }

    package struct Report: Sendable, Equatable {
        package struct Line: Sendable, Equatable {
            package var provider: String
            package var model: String
            /// All of the period, and those whose cost differs.
            package var calls = 0
            package var differing = 0
            /// Of those that differ.
            package var before = NanoDollars.zero
            package var after = NanoDollars.zero
            /// Left as they are: without a price in the book at their time, or booked at their hold since a server died.
            package var unpriced = 0
            package var unknown = 0
        }

        package var lines: [Line] = []
        package var isApplied = false

        package var differing: Int { lines.reduce(0) { $0 + $1.differing } }
        package var amount: NanoDollars { lines.reduce(.zero) { $0 + $1.after - $1.before } }

        mutating func count(_ charge: Rerating.Charge, _ outcome: Rerating.Outcome) {
            let index =
                lines.firstIndex { $0.provider == charge.provider && $0.model == charge.model }
                ?? {
                    lines.append(Line(provider: charge.provider, model: charge.model))
                    return lines.count - 1
                }()
            lines[index].calls += 1
            switch outcome {
            case .same: break
            case .unpriced: lines[index].unpriced += 1
            case .unknown: lines[index].unknown += 1
            case .corrected(let cost, _):
                lines[index].differing += 1
                lines[index].before = lines[index].before + charge.cost
                lines[index].after = lines[index].after + cost
            }
        }
    }

    /// Calls count by when they began. May be repeated: what is corrected already does not differ any more. Applied in pieces, each
    /// whole: one that fails leaves those before it in place.
    ///
    /// - Throws: `badRequest`; `conflict` when another re-rating corrects the same calls.
    package func rerate(_ principal: Principal, _ request: Request) async throws -> Report {
        guard request.from < request.to else { throw AppError(.badRequest, "to must be after from.", field: "to") }
        try await settings.refresh()
        let current = try settings.current()
        let rerating = Rerating(
            book: current.prices,
            types: Dictionary(
                uniqueKeysWithValues: current.providers(of: principal.organization).map { ($0.name, $0.type.priceTypes) }))
        let run = UUID()
        var report = Report(isApplied: request.isApplied)
        var place: CorrectionStore.Place?
        repeat {
            let page = try await store.charges(principal.organization, request.from, request.to, model: request.model, after: place)
            var corrections: [Correction] = []
            for charge in page.charges {
                let outcome = rerating.outcome(charge)
                report.count(charge, outcome)
                guard case .corrected(let cost, let price) = outcome else { continue }
                corrections.append(Correction(charge: charge, run: run, actor: principal.user, costAfter: cost, price: price))
            }
            if request.isApplied, !corrections.isEmpty { try await store.write(corrections) }
            place = page.next
        } while place != nil
        report.lines.sort { ($0.provider, $0.model) < ($1.provider, $1.model) }
        if request.isApplied, report.differing > 0 {
            try await facts.record(
                principal, kind: "ledger.rerated", subject: run.uuidString.lowercased(),
                [
                    "from": PriceIntervals.stamp(request.from), "to": PriceIntervals.stamp(request.to),
                    "model": request.model ?? "all",
                    "calls": "\(report.differing)", "amount_nano_dollars": "\(report.amount.value)",
                ])
        }
        return report
    }
}

import API
import Core
import Foundation
import Gateway
import HTTPTypes
import Hummingbird
import ModelAPI

/// Prices of one's own, files of prices, and what follows from them for calls that were booked: re-rating and invoices.
struct PriceRoutes: Sendable {
    let gateway: Gateway

    /// Files of prices and invoices are read whole; models.dev's and LiteLLM's have under 4 MB.
    private static let largestFile = 32 << 20

    func register(on table: RouteTable) {
        table.on(.post, APIPaths.models, .changeModelPolicies, set)
        table.on(.post, APIPaths.modelImport, .changeModelPolicies, importing)
        table.on(.post, APIPaths.rerate, .changeModelPolicies, rerate)
        table.on(.post, APIPaths.reconcile, .reconcileInvoices, reconcile)
    }

    @Sendable func set(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(SetModelPriceRequest.self)
        try await gateway.prices.set(call.principal, try wanted.change)
        return .noContent
    }

    /// The file is the body. `format`; `dry_run=true`, `force=true`; `section`, `provider`, `type`, `from`.
    @Sendable func importing(_ call: Call) async throws -> Response {
        let incoming = call.incoming
        guard let format = incoming.query("format").flatMap(PriceImport.Format.init(rawValue:)) else {
            let known = PriceImport.Format.allCases.map(\.rawValue).joined(separator: ", ")
            throw AppError(.badRequest, "format must be one of \(known).", field: "format")
        }
        let options = PriceImport.Options(
            format: format, section: incoming.query("section"), providerName: incoming.query("provider"),
            type: try incoming.query("type").map { try ProviderType(named: $0) }, validFrom: try incoming.queryDate("from"),
            isForced: incoming.query("force") == "true", isDry: incoming.query("dry_run") == "true")
        let file = Data(buffer: try await incoming.collect(upTo: Self.largestFile))
        let found = try await gateway.prices.importing(call.principal, file, options)
        return try .json(
            PriceImportReport(lines: found.lines.map(\.shown), skipped: found.skipped, dryRun: options.isDry))
    }

    @Sendable func rerate(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(RerateRequest.self)
        let report = try await gateway.rerating.rerate(
            call.principal,
            .init(from: wanted.from, to: wanted.to, model: wanted.model, isApplied: wanted.apply ?? false))
        return try .json(
            RerateReport(
                lines: report.lines.map(\.shown), amountNanoDollars: report.amount.value, applied: report.isApplied))
    }

    /// The invoice is the body, `provider` its provider's name.
    @Sendable func reconcile(_ call: Call) async throws -> Response {
        guard let provider = call.incoming.query("provider") else {
            throw AppError(.badRequest, "Say whose invoice it is: provider=<name>.", field: "provider")
        }
        let file = Data(buffer: try await call.incoming.collect(upTo: Self.largestFile))
        let found = try await gateway.invoices.reconcile(call.principal, provider: provider, file)
        return try .json(
            ReconcileReport(
                provider: found.provider, lines: found.lines.map(\.shown), invoicedNanoDollars: found.invoiced.value,
                bookedNanoDollars: found.booked.value, rowsWithoutModel: found.withoutModel.rows,
                withoutModelNanoDollars: found.withoutModel.cost.value))
    }
}

extension ProviderType {
    /// - Throws: `badRequest` that says which there are.
    init(named type: String) throws {
        guard let found = ProviderType(rawValue: type) else {
            throw AppError(
                .badRequest,
                "'\(type.prefix(40))' is no type of provider; there are \(ProviderType.allCases.map(\.rawValue).joined(separator: ", ")).",
                field: "type")
        }
        self = found
    }
}

extension SetModelPriceRequest {
    fileprivate var change: PriceService.Change {
        get throws {
            let write = cacheWritePerMillion ?? inputPerMillion
            return PriceService.Change(
                type: try ProviderType(named: type), providerName: provider, model: model,
                prices: PriceClasses(
                    input: .init(inputPerMillion), cacheRead: .init(cacheReadPerMillion ?? inputPerMillion),
                    cacheWrite5m: .init(write), cacheWrite1h: .init(cacheWrite1hPerMillion ?? write),
                    output: .init(outputPerMillion), reasoning: reasoningPerMillion.map { .init($0) },
                    webSearch: NanoDollars(webSearchNanoDollars ?? 0)),
                contextTokens: contextTokens ?? 200_000, maxOutputTokens: maxOutputTokens ?? 32_000, validFrom: validFrom,
                validTo: validTo, isReplacing: replace ?? false)
        }
    }
}

extension PriceImport.Line {
    fileprivate var shown: PriceImportReport.Line {
        .init(
            type: type.rawValue, model: model, outcome: outcome.rawValue,
            differences: differences.map { .init(name: $0.name, before: $0.before, after: $0.after) }, findings: findings)
    }
}

extension RerateService.Report.Line {
    fileprivate var shown: RerateReport.Line {
        .init(
            provider: provider, model: model, calls: calls, differing: differing, beforeNanoDollars: before.value,
            afterNanoDollars: after.value, unpriced: unpriced, unknown: unknown)
    }
}

extension Reconciliation.Line {
    fileprivate var shown: ReconcileReport.Line {
        .init(
            day: day, model: model, invoicedNanoDollars: invoiced?.value, bookedNanoDollars: booked.value,
            invoicedTokens: invoicedTokens, bookedTokens: bookedTokens, calls: calls, estimated: estimated)
    }
}

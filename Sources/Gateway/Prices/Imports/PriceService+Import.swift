import Core
import Crypto
import Foundation

extension PriceService {
    /// Compares a file with the book and, unless it is dry, writes what differs: all in one transaction, with one entry on the audited
    /// record for each price. What was refused is left out.
    ///
    /// - Throws: `badRequest` for what is no file of the format; `conflict` for intervals that overlap.
    package func importing(_ principal: Principal, _ file: Data, _ options: PriceImport.Options) async throws -> PriceImport {
        try await settings.refresh()
        let current = try settings.current()
        try Self.check(provider: options.providerName, current, principal)
        let book = current.prices
        let now = Date(microseconds: Date().microseconds)
        let found = try PriceImport(file, options, book: book, organization: principal.organization, at: now)
        if options.isDry { return found }
        // Each is placed among those before it: two lines of a file may be of one model.
        var placed = book
        let placements = try found.lines.filter { $0.outcome == .new || $0.outcome == .changed }.compactMap { line in
            try line.body.map { body in
                let price = try ModelPrice(
                    providerType: line.type, model: line.model, validFrom: line.validFrom ?? options.validFrom ?? now,
                    validTo: line.validTo, organization: principal.organization, body: body)
                // A file is the whole truth about its layer.
                let placement = try place(price, principal, placed, .imported, replacing: true)
                placed.apply(placement, for: principal.organization)
                return placement
            }
        }
        if placements.isEmpty { return found }
        let hash = Data(SHA256.hash(data: file)).hex
        try await write(placements, principal) { placed in
            try placed.map { placement in
                var details = Self.details(placement)
                details["format"] = options.format.rawValue
                details["file_sha256"] = hash
                let subject = placement.added.first.map { "\($0.providerType.rawValue)/\($0.model)" } ?? ""
                return try .init(
                    organization: principal.organization, actor: principal.user, kind: "price.imported", subject: subject, details)
            }
        }
        return found
    }
}

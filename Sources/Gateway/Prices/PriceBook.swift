import Core
import Foundation
import ModelAPI

/// What every known model costs. Custom prices of an organization come before those of the book.
package struct PriceBook: Sendable {
    private struct Key: Hashable, Sendable {
        var organization: OrganizationID?
        var type: ProviderType
        var model: String
    }

    private var prices: [Key: [ModelPrice]] = [:]

    package init(_ book: [ModelPrice]) { for price in book { add(price, for: nil) } }

    /// The files of `config/prices/`; a file of the same name in `directory` replaces one that was built in, others are added.
    ///
    /// - Throws: `badRequest` naming the file and the place.
    package static func load(directory: String? = nil) throws -> PriceBook {
        var files = Embedded.files.filter { $0.key.hasSuffix(".json") }
        if let directory, let names = try? FileManager.default.contentsOfDirectory(atPath: directory) {
            for name in names where name.hasSuffix(".json") {
                files[name] = try String(contentsOfFile: directory + "/" + name, encoding: .utf8)
            }
        }
        return PriceBook(try files.sorted { $0.key < $1.key }.flatMap { try PriceFile.read($0.value, name: $0.key) })
    }

    package mutating func add(_ price: ModelPrice, for organization: OrganizationID?) {
        prices[Key(organization: organization, type: price.providerType, model: price.model), default: []].append(price)
    }

    /// The price in force at the time; of several the one that began last. Nil: the model is unpriced.
    package func price(of model: String, type: ProviderType, organization: OrganizationID, at date: Date) -> ModelPrice? {
        for key in [
            Key(organization: organization, type: type, model: model), Key(organization: nil, type: type, model: model),
        ] {
            let valid = prices[key]?.filter { $0.isValid(at: date) }
            if let newest = valid?.max(by: { $0.validFrom < $1.validFrom }) { return newest }
        }
        return nil
    }

    /// Every price in force, for lists.
    package func all(organization: OrganizationID, at date: Date) -> [(price: ModelPrice, isCustom: Bool)] {
        var found: [String: (price: ModelPrice, isCustom: Bool)] = [:]
        for key in prices.keys where key.organization == nil || key.organization == organization {
            let name = "\(key.type.rawValue)/\(key.model)"
            if found[name]?.isCustom == true { continue }
            if let price = price(of: key.model, type: key.type, organization: organization, at: date) {
                found[name] = (
                    price, prices[Key(organization: organization, type: key.type, model: key.model)]?.contains(price) ?? false
                )
            }
        }
        return found.sorted { $0.key < $1.key }.map(\.value)
    }

    /// The prices that come from files.
    var book: [ModelPrice] { prices.filter { $0.key.organization == nil }.flatMap(\.value) }
}

import Core
import Foundation
import ModelAPI

/// What every known model costs. Prices that an organization set come before those that it imported, and these before those of the
/// book; within each, those for one provider before those for its type.
package struct PriceBook: Sendable {
    /// Where a price comes from, the strongest first.
    package enum Layer: String, Sendable, CaseIterable { case custom, imported, book }

    struct Key: Hashable, Sendable {
        var type: ProviderType
        var model: String
    }

    /// One line of prices that follow each other in time.
    struct Line: Sendable {
        var layer: Layer
        var organization: OrganizationID?
        var providerName: String?
        /// By beginning, ascending.
        var prices: [ModelPrice]

        var rank: Int { (Layer.allCases.firstIndex(of: layer) ?? 0) * 2 + (providerName == nil ? 1 : 0) }

        /// The last one that has begun, unless it has ended: an earlier one does not come back.
        func price(at date: Date) -> ModelPrice? {
            prices.last { $0.validFrom <= date }.flatMap { $0.isValid(at: date) ? $0 : nil }
        }
    }

    private var lines: [Key: [Line]] = [:]

    package init(_ book: [ModelPrice]) { for price in book { add(price, for: nil) } }

    /// The files of `config/prices/`; a file of the same name in `directory` replaces one that was built in, others are added.
    ///
    /// - Throws: `badRequest` naming the file and the place, or prices whose intervals overlap.
    package static func load(directory: String? = nil) throws -> PriceBook {
        var files = Embedded.files.filter { $0.key.hasSuffix(".json") }
        if let directory, let names = try? FileManager.default.contentsOfDirectory(atPath: directory) {
            for name in names where name.hasSuffix(".json") {
                files[name] = try String(contentsOfFile: directory + "/" + name, encoding: .utf8)
            }
        }
        let prices = try files.sorted { $0.key < $1.key }.flatMap { try PriceFile.read($0.value, name: $0.key) }
        try PriceIntervals.check(prices)
        return PriceBook(prices)
    }

    package mutating func add(_ price: ModelPrice, for organization: OrganizationID?) {
        let key = Key(type: price.providerType, model: price.model)
        let layer: Layer = organization == nil ? .book : price.body.importedFrom == nil ? .custom : .imported
        var found = lines[key] ?? []
        if let index = found.firstIndex(where: {
            $0.layer == layer && $0.organization == organization && $0.providerName == price.providerName
        }) {
            let place = found[index].prices.firstIndex { $0.validFrom > price.validFrom } ?? found[index].prices.endIndex
            found[index].prices.insert(price, at: place)
        } else {
            found.append(Line(layer: layer, organization: organization, providerName: price.providerName, prices: [price]))
            found.sort { $0.rank < $1.rank }
        }
        lines[key] = found
    }

    /// The book as it is once the placement is written.
    mutating func apply(_ placement: PricePlacement, for organization: OrganizationID) {
        let withdrawn = Set(placement.withdrawn.map(\.id))
        for price in placement.withdrawn {
            let key = Key(type: price.providerType, model: price.model)
            for index in (lines[key] ?? []).indices where lines[key]?[index].organization == organization {
                lines[key]?[index].prices.removeAll { withdrawn.contains($0.id) }
            }
        }
        // What is there already, such as a price that is set a second time, is one price.
        for price in placement.added {
            let there = lines[Key(type: price.providerType, model: price.model)] ?? []
            if !there.contains(where: { $0.organization == organization && $0.prices.contains { $0.id == price.id } }) {
                add(price, for: organization)
            }
        }
    }

    /// The price in force at the time. Nil: the model is unpriced.
    ///
    /// - Parameter named: the provider's name, for prices that are its own.
    package func price(
        of model: String, type: ProviderType, named: String? = nil, organization: OrganizationID, at date: Date
    ) -> ModelPrice? {
        entry(of: model, type: type, named: named, organization: organization, at: date)?.price
    }

    /// The same, with where it comes from.
    package func entry(
        of model: String, type: ProviderType, named: String? = nil, organization: OrganizationID, at date: Date,
        among layers: Set<Layer> = Set(Layer.allCases)
    ) -> (price: ModelPrice, layer: Layer)? {
        for line in lines[Key(type: type, model: model)] ?? [] where layers.contains(line.layer) {
            guard line.organization == nil || line.organization == organization else { continue }
            guard line.providerName == nil || line.providerName == named else { continue }
            if let price = line.price(at: date) { return (price, line.layer) }
        }
        return nil
    }

    /// The prices of one line, by beginning.
    func line(
        of model: String, type: ProviderType, named: String?, organization: OrganizationID, layer: Layer
    ) -> [ModelPrice] {
        lines[Key(type: type, model: model)]?.first {
            $0.layer == layer && $0.organization == organization && $0.providerName == named
        }?.prices ?? []
    }

    /// Every model with a price in force, for lists; those of one provider only with its name.
    package func all(organization: OrganizationID, named: String? = nil, at date: Date) -> [(price: ModelPrice, layer: Layer)] {
        lines.keys.sorted { ($0.type.rawValue, $0.model) < ($1.type.rawValue, $1.model) }.compactMap {
            entry(of: $0.model, type: $0.type, named: named, organization: organization, at: date)
        }
    }

    /// The prices that come from files.
    var book: [ModelPrice] { lines.values.flatMap { $0 }.filter { $0.organization == nil }.flatMap(\.prices) }
}

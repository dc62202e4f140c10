import Core
import ModelAPI

/// What a price file may have, and where: a key that is misspelt would otherwise be a price that silently is another one.
indirect enum PriceFileShape: Sendable {
    case object([String: PriceFileShape])
    case list(PriceFileShape)
    /// One, or a list of them.
    case oneOrMore(PriceFileShape)
    /// By names of its own.
    case map(PriceFileShape)
    case word([String])
    case value

    static let file: PriceFileShape = {
        let price = object(
            Dictionary(uniqueKeysWithValues: DollarPrices.CodingKeys.allCases.map { ($0.stringValue, PriceFileShape.value) }))
        let long = oneOrMore(.object(["above": .value, "price": price]))
        let entry = object([
            "model": .value, "aliases": .value, "valid_from": .value, "valid_to": .value, "context_tokens": .value,
            "max_output_tokens": .value, "price": price, "long_context": long,
            "services": .map(.object(["price": price, "long_context": long])),
        ])
        return object([
            "comment": .value, "source": .value, "as_of": .value, "provider_type": .word(ProviderType.allCases.map(\.rawValue)),
            "models": .list(entry),
        ])
    }()

    /// - Throws: `badRequest` with the place of the first thing that it may not have.
    func check(_ json: PriceJSON, at place: String = "") throws(AppError) {
        switch (self, json) {
        case (.object(let known), .object(let fields)):
            for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
                guard let shape = known[key] else {
                    let names = known.keys.sorted()
                    let hint = Spelling.nearest(to: key, among: names).map { "did you mean '\($0)'?" }
                    throw Self.wrong(
                        "\(place.isEmpty ? "the file" : place) has no '\(key.prefix(64))'; \(hint ?? "it has \(names.joined(separator: ", "))")"
                    )
                }
                try shape.check(value, at: Self.place(place, key))
            }
        case (.map(let shape), .object(let fields)):
            for (key, value) in fields.sorted(by: { $0.key < $1.key }) { try shape.check(value, at: Self.place(place, key)) }
        case (.list(let shape), .array(let list)), (.oneOrMore(let shape), .array(let list)):
            for (index, value) in list.enumerated() { try shape.check(value, at: "\(place)[\(index)]") }
        case (.oneOrMore(let shape), _): try shape.check(json, at: place)
        case (.word(let words), .text(let text)) where words.contains(text): break
        case (.word(let words), _):
            throw Self.wrong("\(place) must be one of \(words.joined(separator: ", "))")
        case (.object, _), (.map, _): throw Self.wrong("\(place.isEmpty ? "the file" : place) must be an object")
        case (.list, _): throw Self.wrong("\(place) must be a list")
        case (.value, _): break
        }
    }

    private static func place(_ place: String, _ key: String) -> String { place.isEmpty ? key : "\(place).\(key)" }

    private static func wrong(_ message: String) -> AppError { AppError(.badRequest, message + ".") }
}

import Foundation

/// How values of the API look as JSON: snake_case names, RFC 3339 times with milliseconds.
public enum APICoding {
    public static func encoder(pretty: Bool = false) -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = pretty ? [.prettyPrinted, .withoutEscapingSlashes] : [.withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(text(of: date))
        }
        return encoder
    }

    public static func decoder() -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .custom { path in Key(path.last.map { camelCase($0.stringValue) } ?? "") }
        decoder.dateDecodingStrategy = .custom { decoder in
            let container = try decoder.singleValueContainer()
            let text = try container.decode(String.self)
            guard let date = date(from: text) else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "'\(text)' is no RFC 3339 time")
            }
            return date
        }
        return decoder
    }

    public static func text(of date: Date) -> String { date.formatted(precise) }

    /// Reads RFC 3339 with or without fractions of a second.
    public static func date(from text: String) -> Date? {
        (try? Date(text, strategy: precise)) ?? (try? Date(text, strategy: Date.ISO8601FormatStyle()))
    }

    private static let precise = Date.ISO8601FormatStyle(includingFractionalSeconds: true)

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(_ text: String) { stringValue = text }
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    /// How a property is called in JSON: `costNanoDollars` is `cost_nano_dollars`, `fileID` is `file_id`.
    public static func wireName(_ property: String) -> String {
        var name = ""
        for letter in property.replacing("IDs", with: "Ids").replacing("ID", with: "Id").replacing("URL", with: "Url") {
            if letter.isUppercase, !name.isEmpty { name += "_" }
            name += letter.lowercased()
        }
        return name
    }

    /// `owner_id` is `ownerID` and `access_url` is `accessURL`: the inverse of what the encoder does with such names.
    private static func camelCase(_ name: String) -> String {
        let words = name.split(separator: "_")
        guard let first = words.first, words.count > 1 else { return name }
        return words.dropFirst().reduce(into: String(first)) { result, word in
            switch word {
            case "id", "url": result += word.uppercased()
            case "ids": result += "IDs"
            default: result += word.prefix(1).uppercased() + word.dropFirst()
            }
        }
    }
}

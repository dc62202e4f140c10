import Foundation

/// Any JSON, with numbers as they are written: prices must not pass through binary fractions.
enum PriceJSON: Decodable, Sendable, Equatable {
    case object([String: PriceJSON])
    case array([PriceJSON])
    case number(Decimal)
    case text(String)
    case other

    init(from decoder: any Decoder) throws {
        if let keyed = try? decoder.container(keyedBy: AnyKey.self) {
            var object: [String: PriceJSON] = [:]
            for key in keyed.allKeys { object[key.stringValue] = try keyed.decode(PriceJSON.self, forKey: key) }
            self = .object(object)
            return
        }
        if var elements = try? decoder.unkeyedContainer() {
            var array: [PriceJSON] = []
            while !elements.isAtEnd { array.append(try elements.decode(PriceJSON.self)) }
            self = .array(array)
            return
        }
        let value = try decoder.singleValueContainer()
        if let number = try? value.decode(Decimal.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else {
            self = .other
        }
    }

    private struct AnyKey: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    subscript(_ key: String) -> PriceJSON? { if case .object(let object) = self { object[key] } else { nil } }
    var object: [String: PriceJSON]? { if case .object(let object) = self { object } else { nil } }
    var array: [PriceJSON]? { if case .array(let array) = self { array } else { nil } }
    var text: String? { if case .text(let text) = self { text } else { nil } }

    /// Some files write numbers in quotes.
    var number: Decimal? {
        switch self {
        case .number(let number): number
        case .text(let text): Decimal(string: text, locale: Locale(identifier: "en_US_POSIX"))
        default: nil
        }
    }

    /// A whole number from 0 on, else nil.
    var count: Int? {
        guard let number, number >= 0, number <= 1_000_000_000 else { return nil }
        return NSDecimalNumber(decimal: number).intValue
    }
}

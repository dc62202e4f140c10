import Foundation

/// A value stored as `jsonb`: `\(JSON(value))` binds it, `row["column", as: JSON<Value>.self].value` reads it.
package struct JSON<Value> {
    package var value: Value
    package init(_ value: Value) { self.value = value }
}

extension JSON: Sendable where Value: Sendable {}
extension JSON: Equatable where Value: Equatable {}

extension JSON: PostgresEncodable where Value: Encodable {
    package static var postgresType: PostgresType { .jsonb }
    package func encode(into bytes: inout [UInt8]) throws -> Bool {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        encoder.outputFormatting = [.withoutEscapingSlashes]
        bytes.append(1)  // the version of jsonb's binary form
        bytes.append(contentsOf: try encoder.encode(value))
        return true
    }
}

extension JSON: PostgresDecodable where Value: Decodable {
    package static func decode(_ cell: PostgresCell) throws -> Self {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        return Self(try decoder.decode(Value.self, from: Data(try cell.jsonBytes())))
    }
}

import Core
import Foundation

/// A value that can be bound to a statement. Values travel in PostgreSQL's binary format with their type, so that
/// `\(name) IS NULL` and `unnest(\(ids))` need no cast; a column of another type (an enum, `inet`) needs one: `\(text)::inet`.
package protocol PostgresEncodable {
    static var postgresType: PostgresType { get }
    /// Appends the binary form; false means NULL (and nothing was appended).
    func encode(into bytes: inout [UInt8]) throws -> Bool
}

extension [UInt8] {
    mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}

extension String: PostgresEncodable {
    package static var postgresType: PostgresType { .text }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(contentsOf: utf8)
        return true
    }
}

extension Int: PostgresEncodable {
    package static var postgresType: PostgresType { .int8 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: Int64(self))
        return true
    }
}

extension Int64: PostgresEncodable {
    package static var postgresType: PostgresType { .int8 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: self)
        return true
    }
}

extension Int32: PostgresEncodable {
    package static var postgresType: PostgresType { .int4 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: self)
        return true
    }
}

extension Bool: PostgresEncodable {
    package static var postgresType: PostgresType { .bool }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(self ? 1 : 0)
        return true
    }
}

extension Double: PostgresEncodable {
    package static var postgresType: PostgresType { .float8 }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: bitPattern)
        return true
    }
}

extension Data: PostgresEncodable {
    package static var postgresType: PostgresType { .bytea }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(contentsOf: self)
        return true
    }
}

extension UUID: PostgresEncodable {
    package static var postgresType: PostgresType { .uuid }
    package func encode(into bytes: inout [UInt8]) -> Bool {
        withUnsafeBytes(of: uuid) { bytes.append(contentsOf: $0) }
        return true
    }
}

extension ID: PostgresEncodable {
    package static var postgresType: PostgresType { .uuid }
    package func encode(into bytes: inout [UInt8]) -> Bool { uuid.encode(into: &bytes) }
}

extension NanoDollars: PostgresEncodable {
    package static var postgresType: PostgresType { .int8 }
    package func encode(into bytes: inout [UInt8]) -> Bool { value.encode(into: &bytes) }
}

extension Date: PostgresEncodable {
    package static var postgresType: PostgresType { .timestamptz }
    /// Microseconds since 2000-01-01 UTC, rounded; the distant dates are PostgreSQL's infinities.
    package func encode(into bytes: inout [UInt8]) -> Bool {
        switch self {
        case .distantFuture: bytes.append(bigEndian: Int64.max)
        case .distantPast: bytes.append(bigEndian: Int64.min)
        default: bytes.append(bigEndian: Int64(((timeIntervalSince1970 - Self.postgresEpoch) * 1_000_000).rounded()))
        }
        return true
    }

    static let postgresEpoch: TimeInterval = 946_684_800
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    package static var postgresType: PostgresType { Wrapped.postgresType }
    package func encode(into bytes: inout [UInt8]) throws -> Bool { try self?.encode(into: &bytes) ?? false }
}

/// One dimension; elements may be optional. Arrays of arrays are not supported.
extension Array: PostgresEncodable where Element: PostgresEncodable {
    package static var postgresType: PostgresType { .init(oid: Element.postgresType.arrayOID, arrayOID: 0) }

    package func encode(into bytes: inout [UInt8]) throws -> Bool {
        precondition(Element.postgresType.arrayOID != 0, "an array of \(Element.self) cannot be bound")
        bytes.append(bigEndian: Int32(isEmpty ? 0 : 1))
        bytes.append(bigEndian: Int32(1))
        bytes.append(bigEndian: Element.postgresType.oid)
        if isEmpty { return true }
        bytes.append(bigEndian: Int32(count))
        bytes.append(bigEndian: Int32(1))
        for element in self {
            let lengthAt = bytes.count
            bytes.append(bigEndian: Int32(-1))
            guard try element.encode(into: &bytes) else { continue }
            let length = Int32(bytes.count - lengthAt - 4)
            Swift.withUnsafeBytes(of: length.bigEndian) { bytes.replaceSubrange(lengthAt..<lengthAt + 4, with: $0) }
        }
        return true
    }
}

import Core
import Foundation

/// A value that can be read from a column. It reads the types that hold exactly such values and refuses all others.
package protocol PostgresDecodable {
    static func decode(_ cell: PostgresCell) throws -> Self
}

/// One field of a row, valid only while it is being decoded.
package struct PostgresCell {
    package let type: UInt32
    /// Nil is NULL.
    let bytes: UnsafeRawBufferPointer?

    struct Mismatch: Error { var reason: String }

    func present() throws -> UnsafeRawBufferPointer {
        guard let bytes else { throw Mismatch(reason: "is NULL") }
        return bytes
    }

    func mismatch(_ wanted: String) -> Mismatch {
        Mismatch(reason: "is \(PostgresType.name(type)), which is not read as \(wanted)")
    }

    func integer<Value: FixedWidthInteger>(_ as: Value.Type) throws -> Value {
        let bytes = try present()
        let wide: Int64
        switch (type, bytes.count) {
        case (20, 8): wide = bytes.bigEndian(Int64.self)
        case (23, 4): wide = Int64(bytes.bigEndian(Int32.self))
        case (21, 2): wide = Int64(bytes.bigEndian(Int16.self))
        case (26, 4): wide = Int64(bytes.bigEndian(UInt32.self))
        case (1700, _):
            guard let value = Int64(try numeric()) else { throw Mismatch(reason: "is a numeric that is no 64-bit integer") }
            wide = value
        default: throw mismatch("\(Value.self)")
        }
        guard let value = Value(exactly: wide) else { throw Mismatch(reason: "is \(wide), out of range for \(Value.self)") }
        return value
    }

    func jsonBytes() throws -> UnsafeRawBufferPointer {
        let bytes = try present()
        switch type {
        case 114, 25: return bytes
        case 3802:
            guard bytes.first == 1 else { throw Mismatch(reason: "is jsonb of an unknown version") }
            return UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
        default: throw mismatch("JSON")
        }
    }
}

extension UnsafeRawBufferPointer {
    func bigEndian<Value: FixedWidthInteger>(_ as: Value.Type, at offset: Int = 0) -> Value {
        Value(bigEndian: loadUnaligned(fromByteOffset: offset, as: Value.self))
    }
}

extension String: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> String {
        switch cell.type {
        case 25, 1043, 19, 1042, 18, 114, 142, 705: String(decoding: try cell.present(), as: UTF8.self)
        case 3802: String(decoding: try cell.jsonBytes(), as: UTF8.self)
        case 1700: try cell.numeric()
        case 16384...: String(decoding: try cell.present(), as: UTF8.self)  // enums: types of our own
        default: throw cell.mismatch("String (cast it to text in the statement)")
        }
    }
}

extension Int: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> Int { try cell.integer(Int.self) }
}

extension Int64: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> Int64 { try cell.integer(Int64.self) }
}

extension Int32: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> Int32 { try cell.integer(Int32.self) }
}

extension NanoDollars: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> Self { Self(try cell.integer(Int64.self)) }
}

extension Bool: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> Bool {
        let bytes = try cell.present()
        guard cell.type == 16, bytes.count == 1 else { throw cell.mismatch("Bool") }
        return bytes[0] != 0
    }
}

extension Double: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> Double {
        let bytes = try cell.present()
        switch (cell.type, bytes.count) {
        case (701, 8): return Double(bitPattern: bytes.bigEndian(UInt64.self))
        case (700, 4): return Double(Float(bitPattern: bytes.bigEndian(UInt32.self)))
        case (1700, _):
            guard let value = Double(try cell.numeric()) else { throw cell.mismatch("Double") }
            return value
        case (20, _), (21, _), (23, _): return Double(try cell.integer(Int64.self))
        default: throw cell.mismatch("Double")
        }
    }
}

extension Data: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> Data {
        let bytes = try cell.present()
        guard cell.type == 17 else { throw cell.mismatch("Data") }
        return Data(bytes)
    }
}

extension UUID: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> UUID {
        let bytes = try cell.present()
        guard cell.type == 2950, bytes.count == 16 else { throw cell.mismatch("UUID") }
        return UUID(uuid: bytes.loadUnaligned(as: uuid_t.self))
    }
}

extension ID: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> Self { Self(try UUID.decode(cell)) }
}

extension Date: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> Date {
        let bytes = try cell.present()
        switch (cell.type, bytes.count) {
        case (1184, 8), (1114, 8):
            let microseconds = bytes.bigEndian(Int64.self)
            if microseconds == .max { return .distantFuture }
            if microseconds == .min { return .distantPast }
            return Date(timeIntervalSince1970: Date.postgresEpoch + Double(microseconds) / 1_000_000)
        case (1082, 4): return Date(timeIntervalSince1970: Date.postgresEpoch + Double(bytes.bigEndian(Int32.self)) * 86400)
        default: throw cell.mismatch("Date")
        }
    }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    package static func decode(_ cell: PostgresCell) throws -> Wrapped? {
        cell.bytes == nil ? nil : try Wrapped.decode(cell)
    }
}

extension Array: PostgresDecodable where Element: PostgresDecodable {
    /// - Throws: for more than one dimension.
    package static func decode(_ cell: PostgresCell) throws -> [Element] {
        let bytes = try cell.present()
        guard bytes.count >= 12, PostgresType.isArray(cell.type) else { throw cell.mismatch("an array") }
        let dimensions = bytes.bigEndian(Int32.self)
        if dimensions == 0 { return [] }
        guard dimensions == 1, bytes.count >= 20 else {
            throw PostgresCell.Mismatch(reason: "has \(dimensions) dimensions, not one")
        }
        let type = bytes.bigEndian(UInt32.self, at: 8)
        let count = Int(bytes.bigEndian(Int32.self, at: 12))
        var elements: [Element] = []
        elements.reserveCapacity(count)
        var offset = 20
        for _ in 0..<count {
            let length = Int(bytes.bigEndian(Int32.self, at: offset))
            offset += 4
            let part = length < 0 ? nil : UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
            elements.append(try Element.decode(PostgresCell(type: type, bytes: part)))
            offset += Swift.max(0, length)
        }
        return elements
    }
}

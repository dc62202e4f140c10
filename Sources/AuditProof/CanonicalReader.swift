import Core
import Foundation

/// Reads back what `Canonical` wrote.
struct CanonicalReader {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { place == bytes.count }

    /// - Throws: `badRequest` at the end, and for bytes that `Canonical` does not write.
    mutating func value() throws -> AuditRecord.Value {
        switch UnicodeScalar(try byte()) {
        case "n": return .none
        case "t": return .flag(true)
        case "f": return .flag(false)
        case "i": return .number(try number())
        case "s": return .text(String(decoding: try field(), as: UTF8.self))
        case "b": return .bytes(Data(try field()))
        case "u":
            let field = try field()
            guard field.count == 16 else { throw malformed }
            return .id(field.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) })
        case "a":
            guard case .number(let count) = try value(), (0...Int64(bytes.count)).contains(count) else { throw malformed }
            return .numbers(
                try (0..<count).map { _ in
                    guard case .number(let number) = try value() else { throw malformed }
                    return number
                })
        default: throw malformed
        }
    }

    private var malformed: AppError { AppError(.badRequest, "The record's bytes cannot be read at \(place).") }

    private mutating func byte() throws -> UInt8 {
        guard place < bytes.count else { throw malformed }
        defer { place += 1 }
        return bytes[place]
    }

    private mutating func number() throws -> Int64 {
        guard place + 8 <= bytes.count else { throw malformed }
        defer { place += 8 }
        return bytes[place..<place + 8].reduce(0) { $0 << 8 | Int64($1) }
    }

    private mutating func field() throws -> ArraySlice<UInt8> {
        guard place + 4 <= bytes.count else { throw malformed }
        let length = bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
        place += 4
        guard place + length <= bytes.count else { throw malformed }
        defer { place += length }
        return bytes[place..<place + length]
    }
}

import Core
import Crypto
import Foundation

/// Bytes that say exactly one thing: each field has a type and a length before it, so that no two different facts look alike.
package struct Canonical: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init(_ kind: String) {
        bytes.reserveCapacity(768)
        add(kind)
    }

    package mutating func add(_ text: String?) {
        guard var text else { return bytes.append(UInt8(ascii: "n")) }
        text.withUTF8 { add(UInt8(ascii: "s"), UnsafeRawBufferPointer($0)) }
    }

    package mutating func add(_ data: Data?) {
        guard let data else { return bytes.append(UInt8(ascii: "n")) }
        data.withUnsafeBytes { add(UInt8(ascii: "b"), $0) }
    }

    package mutating func add(_ number: Int64?) {
        guard let number else { return bytes.append(UInt8(ascii: "n")) }
        bytes.append(UInt8(ascii: "i"))
        withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func add(_ number: Int?) { add(number.map { Int64($0) }) }
    package mutating func add(_ flag: Bool) { bytes.append(UInt8(ascii: flag ? "t" : "f")) }
    package mutating func add<Noun>(_ id: ID<Noun>?) { add(id?.uuid) }

    package mutating func add(_ id: UUID?) {
        guard let id else { return bytes.append(UInt8(ascii: "n")) }
        withUnsafeBytes(of: id.uuid) { add(UInt8(ascii: "u"), $0) }
    }

    package mutating func add(_ numbers: [Int64]) {
        bytes.append(UInt8(ascii: "a"))
        add(numbers.count)
        for number in numbers { add(number) }
    }

    package var digest: Data { Data(SHA256.hash(data: bytes)) }

    private mutating func add(_ type: UInt8, _ field: UnsafeRawBufferPointer) {
        bytes.append(type)
        withUnsafeBytes(of: UInt32(field.count).bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: field)
    }
}

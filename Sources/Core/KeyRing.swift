import Crypto
import Foundation

/// The keys that encrypt secrets at rest: the first encrypts, all decrypt.
///
/// Text form, one key a line: `<key id> <64 hex digits>`; lines that start with `#` are comments. A sealed value is
/// `key id ‖ 0 ‖ nonce (12) ‖ ciphertext ‖ tag (16)`, AES-256-GCM, bound to the place where it is stored.
package struct KeyRing: Sendable {
    /// Where a sealed value is stored: moving it to another row makes it unreadable.
    package struct Place: Sendable {
        var table: String
        var column: String
        var row: String

        package init(table: String, column: String, row: String) {
            self.table = table
            self.column = column
            self.row = row
        }

        fileprivate var bytes: Data { Data("\(table)\u{0}\(column)\u{0}\(row)".utf8) }
    }

    private struct Key: Sendable {
        let id: String
        let key: SymmetricKey
    }

    private let keys: [Key]

    /// - Throws: `badRequest` naming the line that is no key, or when there is none.
    package init(text: String) throws {
        var keys: [Key] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let words = line.split(whereSeparator: \.isWhitespace)
            if words.isEmpty || words[0].hasPrefix("#") { continue }
            guard words.count == 2, let bytes = Data(hex: String(words[1])), bytes.count == 32, !words[0].utf8.contains(0) else {
                throw AppError(.badRequest, "Line \(number + 1) of the key ring is not '<key id> <64 hex digits>'.", field: "keys")
            }
            guard !keys.contains(where: { $0.id == words[0] }) else {
                throw AppError(.badRequest, "Line \(number + 1) of the key ring names the key '\(words[0])' again.", field: "keys")
            }
            keys.append(Key(id: String(words[0]), key: SymmetricKey(data: bytes)))
        }
        guard !keys.isEmpty else { throw AppError(.badRequest, "The key ring holds no key.", field: "keys") }
        self.keys = keys
    }

    /// A line for a ring with one new random key.
    package static func generatedText(id: String) -> String {
        let key = SymmetricKey(size: .bits256).withUnsafeBytes { Data($0) }
        return "\(id) \(key.hex)\n"
    }

    package var primaryID: String { keys[0].id }
    package var ids: [String] { keys.map(\.id) }

    /// For each key its id and a hash that tells it from another key of that id.
    package var prints: [String] {
        keys.map { key in
            var hash = SHA256()
            hash.update(data: Data("slipway key ring".utf8))
            key.key.withUnsafeBytes { hash.update(bufferPointer: $0) }
            return "\(key.id):\(Data(hash.finalize()).hex.prefix(16))"
        }
    }

    /// The id of the key that a value was sealed with; nil for what is no sealed value.
    package static func keyID(of sealed: Data) -> String? {
        sealed.firstIndex(of: 0).map { String(decoding: sealed[..<$0], as: UTF8.self) }
    }

    package func seal(_ plain: some DataProtocol, at place: Place) throws -> Data {
        let box = try AES.GCM.seal(plain, using: keys[0].key, authenticating: place.bytes)
        guard let combined = box.combined else { throw AppError(.internal, "The value could not be encrypted.") }
        return Data(keys[0].id.utf8) + [0] + combined
    }

    /// - Throws: `unavailable` when no key of the ring opens it: the ring is the wrong one, or the value was moved or changed.
    package func open(_ sealed: Data, at place: Place) throws -> Data {
        guard let end = sealed.firstIndex(of: 0) else { throw AppError(.unavailable, "A stored secret has no key id.") }
        let id = String(decoding: sealed[..<end], as: UTF8.self)
        guard let key = keys.first(where: { $0.id == id }) else {
            throw AppError(
                .unavailable,
                "The key ring has no key '\(id)', which a stored secret needs. Start with the ring it was written with.")
        }
        do {
            let box = try AES.GCM.SealedBox(combined: sealed[(end + 1)...])
            return try AES.GCM.open(box, using: key.key, authenticating: place.bytes)
        } catch {
            throw AppError(
                .unavailable, "A stored secret does not open with key '\(id)': it was changed, moved, or the ring is another one.")
        }
    }
}

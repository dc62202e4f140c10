import Core
import Crypto
import Foundation

/// A signed statement of where all chains stood. Those that did not grow since the one before are left out.
package struct Checkpoint: Sendable, Equatable {
    package struct Head: Sendable, Equatable, Codable {
        package var chain: UUID
        package var n: Int64
        /// Of the entry `n`, hexadecimal.
        package var link: String

        package init(chain: UUID, n: Int64, link: String) {
            self.chain = chain
            self.n = n
            self.link = link
        }
    }

    /// What is signed, as JSON with sorted keys.
    package struct Body: Codable, Sendable, Equatable {
        package var version = 1
        package var number: Int64
        /// Microseconds since 1970.
        package var at: Int64
        /// SHA-256 of the body and signature before, hexadecimal; empty for the first.
        package var previous: String
        package var heads: [Head]

        package init(number: Int64, at: Int64, previous: String, heads: [Head]) {
            self.number = number
            self.at = at
            self.previous = previous
            self.heads = heads
        }
    }

    package var number: Int64
    /// The exact bytes that are signed.
    package var body: Data
    package var keyID: String
    package var publicKey: Data
    package var signature: Data
    package var at: Date
    /// How many entries stand behind it, in all chains, also those that it leaves out. For people, and not signed; nil where it is not known.
    package var entries: Int64?

    package init(
        number: Int64, body: Data, keyID: String, publicKey: Data, signature: Data, at: Date, entries: Int64? = nil
    ) {
        self.number = number
        self.body = body
        self.keyID = keyID
        self.publicKey = publicKey
        self.signature = signature
        self.at = at
        self.entries = entries
    }

    /// What the next one names as its previous.
    package var digest: Data { Data(SHA256.hash(data: body + signature)) }

    package var heads: [Head] { (try? JSONDecoder().decode(Body.self, from: body))?.heads ?? [] }

    package static func signed(_ content: Body, keyID: String, key: Curve25519.Signing.PrivateKey) throws -> Checkpoint {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let body = try encoder.encode(content)
        return Checkpoint(
            number: content.number, body: body, keyID: keyID, publicKey: key.publicKey.rawRepresentation,
            signature: try key.signature(for: body), at: Date(timeIntervalSince1970: Double(content.at) / 1_000_000))
    }

    /// Whether the public key signed the body.
    package var isGenuine: Bool {
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: publicKey) else { return false }
        return key.isValidSignature(signature, for: body)
    }
}

/// Checkpoints as they are exported, one JSON object a line: an anchor outside of the database's reach.
package struct AuditAnchor: Sendable {
    package var checkpoints: [Checkpoint]

    package init(_ checkpoints: [Checkpoint]) { self.checkpoints = checkpoints }

    private struct Line: Codable {
        var number: Int64
        var body: Data
        var key: String
        var publicKey: Data
        var signature: Data
    }

    package var text: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return checkpoints.compactMap { checkpoint in
            let line = Line(
                number: checkpoint.number, body: checkpoint.body, key: checkpoint.keyID, publicKey: checkpoint.publicKey,
                signature: checkpoint.signature)
            return (try? encoder.encode(line)).map { String(decoding: $0, as: UTF8.self) + "\n" }
        }.joined()
    }

    /// - Throws: `badRequest` naming the line that is no checkpoint, or one that its own key did not sign.
    package init(text: String) throws {
        checkpoints = []
        for (index, line) in text.split(separator: "\n").enumerated() {
            guard let read = try? JSONDecoder().decode(Line.self, from: Data(line.utf8)) else {
                throw AppError(.badRequest, "Line \(index + 1) of the anchor is not an exported checkpoint.", field: "anchor")
            }
            let checkpoint = Checkpoint(
                number: read.number, body: read.body, keyID: read.key, publicKey: read.publicKey, signature: read.signature,
                at: Date())
            guard checkpoint.isGenuine else {
                throw AppError(
                    .badRequest, "Line \(index + 1) of the anchor is not signed by the key that it names.", field: "anchor")
            }
            checkpoints.append(checkpoint)
        }
    }
}

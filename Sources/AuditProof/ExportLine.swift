import Core
import Foundation

/// A line of an exported record. In order: the header, all checkpoints, the entries chain by chain with the rows that they are about,
/// what retention removed, the end.
package enum ExportLine: Sendable {
    package static let format = "slipway-audit-export-1"

    /// - Parameter at: microseconds since 1970.
    case header(at: Int64)
    case checkpoint(Checkpoint)
    /// The record is nil when its row is not there.
    case entry(AuditLink, AuditRecord?)
    /// What one fact removed.
    case tombstones(fact: UUID, [Tombstone])
    case end(entries: Int64, checkpoints: Int64)

    /// With its line end; keys are in the order of the alphabet.
    package func text() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    }
}

extension ExportLine: Codable {
    private enum Key: String, CodingKey {
        case type, format, at, number, body, keyID = "key_id", publicKey = "public_key", signature
        case chain, n, prev, digest, kind, subject, record, fact, tombstones, entries, checkpoints
    }

    package func encode(to encoder: any Encoder) throws {
        var line = encoder.container(keyedBy: Key.self)
        switch self {
        case .header(let at):
            try line.encode("header", forKey: .type)
            try line.encode(Self.format, forKey: .format)
            try line.encode(at, forKey: .at)
        case .checkpoint(let point):
            try line.encode("checkpoint", forKey: .type)
            try line.encode(point.number, forKey: .number)
            try line.encode(String(decoding: point.body, as: UTF8.self), forKey: .body)
            try line.encode(point.keyID, forKey: .keyID)
            try line.encode(point.publicKey.hex, forKey: .publicKey)
            try line.encode(point.signature.hex, forKey: .signature)
        case .entry(let link, let record):
            try line.encode("entry", forKey: .type)
            try line.encode(link.chain.uuidString.lowercased(), forKey: .chain)
            try line.encode(link.n, forKey: .n)
            try line.encode(link.prev.hex, forKey: .prev)
            try line.encode(link.digest.hex, forKey: .digest)
            try line.encode(link.kind, forKey: .kind)
            try line.encode(link.subject, forKey: .subject)
            try line.encode(link.at, forKey: .at)
            try line.encode(record, forKey: .record)
        case .tombstones(let fact, let stones):
            try line.encode("tombstones", forKey: .type)
            try line.encode(fact.uuidString.lowercased(), forKey: .fact)
            try line.encode(stones, forKey: .tombstones)
        case .end(let entries, let checkpoints):
            try line.encode("end", forKey: .type)
            try line.encode(entries, forKey: .entries)
            try line.encode(checkpoints, forKey: .checkpoints)
        }
    }

    package init(from decoder: any Decoder) throws {
        let line = try decoder.container(keyedBy: Key.self)
        func bytes(_ key: Key) throws -> Data {
            guard let data = Data(hex: try line.decode(String.self, forKey: key)) else {
                throw DecodingError.dataCorruptedError(forKey: key, in: line, debugDescription: "no hexadecimal digits")
            }
            return data
        }
        func id(_ key: Key) throws -> UUID {
            guard let id = UUID(uuidString: try line.decode(String.self, forKey: key)) else {
                throw DecodingError.dataCorruptedError(forKey: key, in: line, debugDescription: "no UUID")
            }
            return id
        }
        switch try line.decode(String.self, forKey: .type) {
        case "header":
            guard try line.decode(String.self, forKey: .format) == Self.format else {
                throw DecodingError.dataCorruptedError(forKey: .format, in: line, debugDescription: "a format of another version")
            }
            self = .header(at: try line.decode(Int64.self, forKey: .at))
        case "checkpoint":
            self = .checkpoint(
                Checkpoint(
                    number: try line.decode(Int64.self, forKey: .number),
                    body: Data(try line.decode(String.self, forKey: .body).utf8),
                    keyID: try line.decode(String.self, forKey: .keyID), publicKey: try bytes(.publicKey),
                    signature: try bytes(.signature), at: Date(timeIntervalSince1970: 0)))
        case "entry":
            self = .entry(
                AuditLink(
                    chain: try id(.chain), n: try line.decode(Int64.self, forKey: .n), prev: try bytes(.prev),
                    digest: try bytes(.digest), kind: try line.decode(String.self, forKey: .kind),
                    subject: try line.decode(String.self, forKey: .subject), at: try line.decode(Int64.self, forKey: .at)),
                try line.decodeIfPresent(AuditRecord.self, forKey: .record))
        case "tombstones": self = .tombstones(fact: try id(.fact), try line.decode([Tombstone].self, forKey: .tombstones))
        case "end":
            self = .end(
                entries: try line.decode(Int64.self, forKey: .entries),
                checkpoints: try line.decode(Int64.self, forKey: .checkpoints))
        case let type:
            throw DecodingError.dataCorruptedError(forKey: .type, in: line, debugDescription: "the unknown type '\(type)'")
        }
    }
}

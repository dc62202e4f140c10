import Core
import Foundation
import Postgres

/// Where the key ring comes from, and whether it is the one that this database was written with.
enum KeyRingSource {
    /// `--keys-file`, `SLIPWAY_KEYS`, or a file in the data directory that is made at the first start.
    static func load(_ configuration: Configuration) throws -> KeyRing {
        let text = try text(configuration)
        do {
            return try KeyRing(text: text)
        } catch let error as AppError {
            let source = configuration.keys == nil ? file(configuration) : "SLIPWAY_KEYS"
            throw AppError(.badRequest, "\(source): \(error.message)", field: "keys-file")
        }
    }

    static func text(_ configuration: Configuration) throws -> String {
        if let keys = configuration.keys { return keys.reveal() }
        let file = file(configuration)
        if configuration.keysFile == nil, !FileManager.default.fileExists(atPath: file) {
            try PrivateFile.create(file, text: KeyRing.generatedText(id: "k1"))
        }
        do {
            return try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            throw AppError(.unavailable, "The key ring \(file) cannot be read.", field: "keys-file", cause: error)
        }
    }

    static func file(_ configuration: Configuration) -> String {
        configuration.keysFile ?? configuration.dataDirectory + "/keys"
    }

    /// The first server writes the sentinel, all others must be able to open it, and to have the key of every other sealed value.
    /// - Throws: `unavailable`, in one sentence.
    static func check(_ ring: KeyRing, _ pool: PostgresPool) async throws {
        let place = SealedColumn.sentinel.place("one")
        let sealed = try ring.seal(Data("slipway".utf8), at: place)
        try await pool.execute("INSERT INTO key_sentinel (sealed) VALUES (\(sealed)) ON CONFLICT DO NOTHING")
        let stored: Data = try await pool.query("SELECT sealed FROM key_sentinel")[0]["sealed"]
        do {
            _ = try ring.open(stored, at: place)
        } catch {
            throw AppError(
                .unavailable,
                "This key ring is not the one that the database was written with; start with the right --keys-file or SLIPWAY_KEYS.",
                field: "keys-file", cause: error)
        }
        let counts = try await SealedValues(pool: pool).counts()
        if let (id, count) = counts.filter({ !ring.ids.contains($0.key) }).min(by: { $0.key < $1.key }) {
            throw AppError(
                .unavailable,
                "The key ring has no key '\(id)', which \(count) stored secrets need: put its line back, or run 'slipway keys rotate' with a ring that has it.",
                field: "keys-file")
        }
    }
}

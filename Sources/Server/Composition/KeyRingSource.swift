import Core
import Foundation
import Postgres

/// Where the key ring comes from, and whether it is the one that this database was written with.
enum KeyRingSource {
    /// `--keys-file`, `SLIPWAY_KEYS`, or a file in the data directory that is made at the first start.
    static func load(_ configuration: Configuration) throws -> KeyRing {
        if let keys = configuration.keys { return try KeyRing(text: keys.reveal()) }
        let file = configuration.keysFile ?? configuration.dataDirectory + "/keys"
        if configuration.keysFile == nil, !FileManager.default.fileExists(atPath: file) {
            try PrivateFile.create(file, text: KeyRing.generatedText(id: "k1"))
        }
        let text: String
        do {
            text = try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            throw AppError(.unavailable, "The key ring \(file) cannot be read.", field: "keys-file", cause: error)
        }
        do {
            return try KeyRing(text: text)
        } catch let error as AppError {
            throw AppError(.badRequest, "\(file): \(error.message)", field: "keys-file")
        }
    }

    private static let place = KeyRing.Place(table: "key_sentinel", column: "sealed", row: "one")

    /// The first server writes the sentinel, all others must be able to open it.
    /// - Throws: `unavailable`, in one sentence.
    static func check(_ ring: KeyRing, _ pool: PostgresPool) async throws {
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
    }
}

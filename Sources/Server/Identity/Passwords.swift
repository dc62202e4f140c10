import Core
import Crypto
import CryptoExtras
import Foundation
import NIOConcurrencyHelpers
import NIOPosix

/// Hashes passwords with scrypt, on two threads of its own and never on an event loop.
///
/// Stored form (PHC): `$scrypt$ln=15,r=8,p=3$<salt>$<hash>`, base64 without padding. One hash takes 32 MiB for its time, so
/// at most two are computed at once, and at most `maxWaiting` wait.
package final class Passwords: Sendable {
    package struct Cost: Sendable, Equatable {
        /// Binary logarithm of the number of rounds.
        package var logRounds: Int
        package var blockSize: Int
        package var parallelism: Int

        package init(logRounds: Int, blockSize: Int, parallelism: Int) {
            self.logRounds = logRounds
            self.blockSize = blockSize
            self.parallelism = parallelism
        }

        /// One of OWASP's equivalent settings, the one that needs least memory.
        package static let standard = Cost(logRounds: 15, blockSize: 8, parallelism: 3)
    }

    private static let maxWaiting = 64
    private let cost: Cost
    private let threads = NIOThreadPool(numberOfThreads: 2)
    private let waiting = NIOLockedValueBox(0)

    package init(cost: Cost = .standard) {
        self.cost = cost
        threads.start()
    }

    package func close() async {
        try? await threads.shutdownGracefully()
    }

    /// - Throws: `badRequest` for a password that is too short or too long; `unavailable` when too many are waiting.
    package func hash(_ password: Secret<String>) async throws -> String {
        try Self.check(password)
        let salt = Data(Random.bytes(16))
        let cost = cost
        let hash = try await compute { try Self.derive(password, salt: salt, cost: cost) }
        return
            "$scrypt$ln=\(cost.logRounds),r=\(cost.blockSize),p=\(cost.parallelism)$\(salt.unpaddedBase64)$\(hash.unpaddedBase64)"
    }

    /// Takes as long for a user who does not exist (`stored` nil) as for a wrong password.
    package func verify(_ password: Secret<String>, against stored: String?) async throws -> Bool {
        let parsed = stored.flatMap(Self.parse)
        let cost = parsed?.cost ?? self.cost
        let salt = parsed?.salt ?? Data(repeating: 0, count: 16)
        guard password.reveal().utf8.count <= 1024 else { return false }
        let hash = try await compute { try Self.derive(password, salt: salt, cost: cost) }
        guard let parsed else { return false }
        return ConstantTime.isEqual(hash, parsed.hash)
    }

    private static func check(_ password: Secret<String>) throws {
        let text = password.reveal()
        guard text.count >= 10 else {
            throw AppError(.badRequest, "The password has \(text.count) characters; it must have at least 10.", field: "password")
        }
        guard text.utf8.count <= 1024 else {
            throw AppError(.badRequest, "The password is longer than 1024 bytes.", field: "password")
        }
    }

    private func compute(_ body: @escaping @Sendable () throws -> Data) async throws -> Data {
        let isFull = waiting.withLockedValue { waiting in
            if waiting < Self.maxWaiting { waiting += 1; return false }
            return true
        }
        if isFull {
            throw AppError(
                .unavailable, "Too many people log in at this moment; try again in a few seconds.", retry: .after(.seconds(3)))
        }
        defer { waiting.withLockedValue { $0 -= 1 } }
        return try await threads.runIfActive(body)
    }

    private static func derive(_ password: Secret<String>, salt: Data, cost: Cost) throws -> Data {
        // The same password typed on two machines can come in two Unicode forms.
        let bytes = Data(password.reveal().precomposedStringWithCompatibilityMapping.utf8)
        let key = try KDF.Scrypt.deriveKey(
            from: bytes, salt: salt, outputByteCount: 32, rounds: 1 << cost.logRounds, blockSize: cost.blockSize,
            parallelism: cost.parallelism)
        return key.withUnsafeBytes { Data($0) }
    }

    private static func parse(_ stored: String) -> (cost: Cost, salt: Data, hash: Data)? {
        let parts = stored.split(separator: "$").map(String.init)
        guard parts.count == 4, parts[0] == "scrypt", let salt = Data(unpaddedBase64: parts[2]),
            let hash = Data(unpaddedBase64: parts[3])
        else { return nil }
        var numbers: [Substring: Int] = [:]
        for word in parts[1].split(separator: ",") {
            let pair = word.split(separator: "=")
            guard pair.count == 2, let number = Int(pair[1]) else { return nil }
            numbers[pair[0]] = number
        }
        guard let rounds = numbers["ln"], (1...20).contains(rounds), let block = numbers["r"], let parallel = numbers["p"] else {
            return nil
        }
        return (Cost(logRounds: rounds, blockSize: block, parallelism: parallel), salt, hash)
    }
}

extension Data {
    var unpaddedBase64: String { base64EncodedString().trimmingCharacters(in: ["="]) }

    init?(unpaddedBase64 text: String) {
        self.init(base64Encoded: text + String(repeating: "=", count: (4 - text.count % 4) % 4))
    }
}

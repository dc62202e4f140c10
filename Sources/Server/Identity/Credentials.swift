import Core
import Crypto
import Foundation

/// Random bytes from the system's generator.
enum Random {
    static func bytes(_ count: Int) -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }
}

enum ConstantTime {
    static func isEqual(_ a: Data, _ b: Data) -> Bool {
        guard a.count == b.count else { return false }
        return zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

/// An unguessable text that somebody presents, and the hash that is stored instead of it.
///
/// The texts hold at least 80 random bits, so a fast hash is enough.
package struct Credential: Sendable {
    package let text: Secret<String>
    package var hash: Data { Self.hash(of: text.reveal()) }
    /// By which its owner recognises it in a list.
    package var hint: String { String(text.reveal().prefix(9)) + "…" }

    package static func hash(of text: String) -> Data { Data(SHA256.hash(data: Data(text.utf8))) }

    /// 256 random bits, `slip_` in front so that scanners for leaked secrets can find it.
    package static func token() -> Credential { .init(text: Secret("slip_" + Data(Random.bytes(32)).base64URL)) }

    /// The value of a session cookie: 256 random bits.
    package static func session() -> Credential { .init(text: Secret(Data(Random.bytes(32)).base64URL)) }

    /// A code that people copy from a log: `ABCD-EFGH-JKLM-NPQR`, 80 random bits, no letter that looks like another.
    package static func setupCode() -> Credential {
        let letters = Array("ABCDEFGHJKLMNPQRSTUVWXYZ23456789")
        let random = Random.bytes(16).map { String(letters[Int($0) % letters.count]) }
        let groups = stride(from: 0, to: 16, by: 4).map { random[$0..<$0 + 4].joined() }
        return .init(text: Secret(groups.joined(separator: "-")))
    }
}

extension Data {
    var base64URL: String {
        base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").trimmingCharacters(in: ["="])
    }
}

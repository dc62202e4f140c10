import Core
import Crypto
import Foundation

/// What an agent proves itself with: 256 random bits, of which the database keeps the SHA-256 alone.
struct AgentToken: Sendable {
    let text: Secret<String>
    let hash: Data

    init() {
        let bytes = SymmetricKey(size: .bits256).withUnsafeBytes { Data($0) }
        self.init(text: Secret("swa_" + bytes.hex))
    }

    init(text: Secret<String>) {
        self.text = text
        hash = Data(SHA256.hash(data: Data(text.reveal().utf8)))
    }
}

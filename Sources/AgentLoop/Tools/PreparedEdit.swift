import Crypto
import Foundation

/// What an edit does to a file, committed before it is written: whoever finds the call open sees from the file whether it was.
package struct PreparedEdit: Sendable, Equatable, Codable {
    package var before: Data
    package var after: Data
    /// What the model is told when it is done.
    package var text: String

    package init(before: Data, after: Data, text: String) {
        self.before = before
        self.after = after
        self.text = text
    }

    package static func hash(_ content: Data) -> Data { Data(SHA256.hash(data: content)) }
}

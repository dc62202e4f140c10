import Core
import Foundation

/// The fields of an `application/x-www-form-urlencoded` body, as browsers send forms.
struct FormFields: Sendable {
    private var values: [String: String] = [:]

    /// A field that is given twice has its last value.
    init(_ body: String) {
        for pair in body.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            values[Self.decoded(parts[0])] = parts.count == 2 ? Self.decoded(parts[1]) : ""
        }
    }

    /// - Throws: `badRequest` for a value that cannot be stored.
    func checked() throws -> FormFields {
        for (name, value) in values.sorted(by: { $0.key < $1.key }) where !Unstorable.isFree(value) {
            throw Unstorable.refusal(Unstorable.isFree(name) ? name : "(form)")
        }
        return self
    }

    subscript(_ name: String) -> String { values[name] ?? "" }

    private static func decoded(_ text: Substring) -> String {
        let spaced = text.replacing("+", with: " ")
        return String(spaced).removingPercentEncoding ?? String(spaced)
    }
}

extension Incoming {
    func form() async throws -> FormFields {
        try FormFields(String(buffer: try await collect(upTo: Self.maxJSONBytes))).checked()
    }
}

import Core
import Foundation

/// NUL, the one character that JSON, forms and addresses can carry and PostgreSQL's text cannot. Whoever sends it means no good or has
/// a fault, so it is refused at the door, by the name of its field.
enum Unstorable {
    static func isFree(_ text: some StringProtocol) -> Bool { !text.utf8.contains(0) }

    static func refusal(_ field: String) -> AppError {
        AppError(.badRequest, "The field '\(field)' must be text without NUL characters.", field: field)
    }

    /// - Throws: `badRequest` that names the field. What is no JSON is left to the decoder.
    static func check(json: Data) throws {
        // As good as no body has one, and looking for six bytes costs nothing.
        guard json.range(of: Data("\\u0000".utf8)) != nil, let value = try? JSONSerialization.jsonObject(with: json) else { return }
        if let field = place(in: value, "") { throw refusal(field) }
    }

    private static func place(in value: Any, _ path: String) -> String? {
        switch value {
        case let text as String: return isFree(text) ? nil : path
        case let list as [Any]:
            return list.indices.lazy.compactMap { place(in: list[$0], path + "[\($0)]") }.first
        case let fields as [String: Any]:
            for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
                let inner = path.isEmpty ? name : path + "." + name
                if !isFree(name) { return path.isEmpty ? "(body)" : path }
                if let found = place(in: value, inner) { return found }
            }
            return nil
        default: return nil
        }
    }
}

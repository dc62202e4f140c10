import API
import Core
import Foundation

extension AppError {
    /// Says which field of a JSON body is wrong and what is expected there, in the words of JSON.
    package init(_ error: DecodingError, in body: Data) {
        func name(_ path: [any CodingKey]) -> String { JSONWords.place(path, name: APICoding.wireName) }
        switch error {
        case .keyNotFound(let key, let context):
            let field = name(context.codingPath + [key])
            self.init(.badRequest, "The field '\(field)' is missing.", field: field)
        case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
            let field = name(context.codingPath)
            let place = field.isEmpty ? "The request's body" : "The field '\(field)'"
            self.init(
                .badRequest, "\(place) must be \(JSONWords.expected(type) ?? "of another kind (\(type) is expected)").",
                field: field.isEmpty ? nil : field)
        case .dataCorrupted(let context):
            let field = name(context.codingPath)
            if !field.isEmpty {
                let reason = context.debugDescription.trimmingCharacters(in: CharacterSet(charactersIn: "."))
                self.init(.badRequest, "The field '\(field)' cannot be read: \(reason).", field: field)
            } else if let value = try? JSONSerialization.jsonObject(with: body, options: .fragmentsAllowed) {
                // The decoder does not say where a number is that does not fit.
                let field = Self.oddNumber(in: value, "")
                let place = field.map { "The field '\($0)'" } ?? "A number"
                self.init(.badRequest, "\(place) must be a whole number that fits into 64 bits.", field: field)
            } else {
                self.init(.badRequest, "The request's body is no valid JSON.")
            }
        @unknown default:
            self.init(.badRequest, "The request's body cannot be read.")
        }
    }

    /// Where the first number is that no integer holds.
    private static func oddNumber(in value: Any, _ path: String) -> String? {
        switch value {
        case let fields as [String: Any]:
            return fields.sorted { $0.key < $1.key }.lazy.compactMap { name, value in
                oddNumber(in: value, path.isEmpty ? name : path + "." + name)
            }.first
        case let list as [Any]: return list.indices.lazy.compactMap { oddNumber(in: list[$0], path + "[\($0)]") }.first
        case let number as NSNumber:
            return Int64(exactly: number.doubleValue) == nil ? path : nil
        default: return nil
        }
    }
}

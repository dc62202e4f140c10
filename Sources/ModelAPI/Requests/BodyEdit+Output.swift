import Core
import NIOCore

extension BodyEdit {
    /// Lowers how long each answer may be, where the money that is held pays for no more: what is reasoned out of sight cannot be cut
    /// in time, so the provider has to keep to it.
    ///
    /// Every field that says a limit is lowered, and one is put in where there is none. Claude's budget for thinking has to lie below
    /// the limit: it becomes half of it, unless that is less than Claude takes; then the provider refuses the request, at no cost.
    ///
    /// - Parameters:
    ///   - tokens: from 1 on.
    ///   - model: the upstream's name for it.
    /// - Returns: edits in ascending order; none for a body whose own limit is no higher, or that is no JSON object.
    package static func outputLimit(
        _ tokens: TokenCount, in body: ByteBuffer, as format: UpstreamFormat, model: String
    ) -> [BodyEdit] {
        let place = OutputLimitPlace(format, model: model)
        return body.withUnsafeReadableBytes { bytes in
            (try? place.edits(tokens, JSONCursor(bytes))) ?? []
        }.sorted { $0.range.lowerBound < $1.range.lowerBound }
    }
}

/// Where a protocol has its limits.
private struct OutputLimitPlace {
    /// The object that has the field; nil: the body itself.
    var object: String?
    /// All that the field may be called; the first where there is none.
    var names: [String]
    /// Gemini takes every field in camel case or with underscores.
    var isLoose = false
    var hasThinking = false

    init(_ format: UpstreamFormat, model: String) {
        switch format {
        case .messages, .bedrockMessages:
            names = ["max_tokens"]
            hasThinking = true
        case .chatCompletions:
            let both = ["max_tokens", "max_completion_tokens"]
            names = Conversation.namesCompletionTokens(model) ? both.reversed() : both
        case .responses: names = ["max_output_tokens"]
        case .gemini:
            object = "generationConfig"
            names = ["maxOutputTokens"]
            isLoose = true
        case .bedrockConverse:
            object = "inferenceConfig"
            names = ["maxTokens"]
        }
    }

    /// The least that Claude may be given to think.
    private static let leastThinking: TokenCount = 1024

    private func isNamed(_ key: String, _ name: String) -> Bool {
        if !isLoose { return key == name }
        func plain(_ text: String) -> String { text.lowercased().filter { $0 != "_" } }
        return plain(key) == plain(name)
    }

    func edits(_ tokens: TokenCount, _ body: JSONCursor) throws(JSONFailure) -> [BodyEdit] {
        var cursor = body
        let fields = try Fields(&cursor)
        var edits: [BodyEdit] = []
        if hasThinking, tokens > Self.leastThinking, let thinking = fields.values.first(where: { $0.key == "thinking" }) {
            edits += try lower(
                "budget_tokens", "thinking", to: max(Self.leastThinking, tokens / 2), from: tokens, body, thinking.range)
        }
        guard let object else { return edits + limits(tokens, fields, body, in: nil) }
        guard let found = fields.values.first(where: { isNamed($0.key, object) }) else {
            return edits + [fields.adding("\"\(object)\":{\"\(names[0])\":\(tokens)}", name: "\(object).\(names[0])")]
        }
        var inner = JSONCursor(body, in: found.range)
        guard inner.peek() == UInt8(ascii: "{") else {
            return edits + [BodyEdit(name: object, range: found.range, replacement: "{\"\(names[0])\":\(tokens)}")]
        }
        return edits + limits(tokens, try Fields(&inner), body, in: object)
    }

    private func limits(_ tokens: TokenCount, _ fields: Fields, _ body: JSONCursor, in object: String?) -> [BodyEdit] {
        let prefix = object.map { $0 + "." } ?? ""
        let there = fields.values.filter { field in names.contains { isNamed(field.key, $0) } }
        if there.isEmpty { return [fields.adding("\"\(names[0])\":\(tokens)", name: prefix + names[0])] }
        let numbers = there.map { Self.number($0.range, body) }
        // One of two may be null; where both are, the first gets the number.
        let edits = zip(there, numbers).compactMap { field, number -> BodyEdit? in
            guard let number, number > tokens else { return nil }
            return BodyEdit(name: prefix + field.key, range: field.range, replacement: "\(tokens)")
        }
        if numbers.contains(where: { $0 != nil }) { return edits }
        return [BodyEdit(name: prefix + there[0].key, range: there[0].range, replacement: "\(tokens)")]
    }

    /// A number inside of an object, if it is as high as `bound`.
    private func lower(
        _ name: String, _ object: String, to tokens: TokenCount, from bound: TokenCount, _ body: JSONCursor, _ range: Range<Int>
    ) throws(JSONFailure) -> [BodyEdit] {
        var inner = JSONCursor(body, in: range)
        guard inner.peek() == UInt8(ascii: "{") else { return [] }
        let fields = try Fields(&inner)
        guard let field = fields.values.first(where: { $0.key == name }), let number = Self.number(field.range, body),
            number >= bound
        else { return [] }
        return [BodyEdit(name: "\(object).\(name)", range: field.range, replacement: "\(tokens)")]
    }

    private static func number(_ range: Range<Int>, _ body: JSONCursor) -> Int? {
        var value = JSONCursor(body, in: range)
        return (try? value.optionalInt()) ?? nil
    }

    /// The fields of one object.
    private struct Fields {
        var values: [(key: String, range: Range<Int>)] = []
        /// Behind its opening brace.
        var start: Int

        init(_ cursor: inout JSONCursor) throws(JSONFailure) {
            var walk = try cursor.enterObject()
            start = cursor.at
            while let key = try cursor.nextKey(&walk) {
                let name = key.string()
                values.append((name, try cursor.range()))
            }
        }

        func adding(_ field: String, name: String) -> BodyEdit {
            BodyEdit(name: name, range: start..<start, replacement: values.isEmpty ? field : field + ",")
        }
    }
}

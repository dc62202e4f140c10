/// Proofs that thinking is unchanged are only good for the provider that made them. A conversation may change its provider from
/// one call to the next, so those that cross a border say where they come from.
enum Signature {
    static let gemini = "slipway-gemini:"

    enum Origin { case messages, responses, gemini }

    static func origin(_ signature: String) -> Origin {
        if signature.hasPrefix(gemini) { return .gemini }
        return signature.isReasoningItem ? .responses : .messages
    }

    /// As Gemini gave it.
    static func forGemini(_ signature: String) -> String {
        signature.hasPrefix(gemini) ? String(signature.dropFirst(gemini.utf8.count)) : signature
    }
}

/// Thinking of another protocol inside a Responses reasoning item: clients send `encrypted_content` back without looking into it.
enum ReasoningEnvelope {
    private static let prefix = "slipway:"

    static func seal(_ block: AnswerBlock) -> String {
        let json = JSONWriter.object { json in
            switch block {
            case .thinking(let text, let signature):
                json.field("text", text)
                if let signature { json.field("signature", signature) }
            case .redactedThinking(let data): json.field("data", data)
            case .text, .toolUse, .other: break
            }
        }
        return prefix + Base64.encode(json.bytes)
    }

    /// Nil for one that Slipway did not make.
    static func open(_ content: String) -> AnswerBlock? {
        guard content.hasPrefix(prefix), let bytes = Base64.decode(content.utf8.dropFirst(prefix.utf8.count)) else { return nil }
        return bytes.withUnsafeBytes { raw -> AnswerBlock? in
            guard var fields = try? JSONNode.document(raw).fields() else { return nil }
            if let data = try? fields.string("data") { return .redactedThinking(data: data) }
            guard let text = try? fields.string("text") else { return nil }
            return .thinking(text: text, signature: try? fields.string("signature"))
        }
    }
}

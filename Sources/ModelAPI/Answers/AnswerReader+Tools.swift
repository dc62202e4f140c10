/// A tool that an answer calls, as far as it has come.
package struct AnsweredCall: Sendable {
    /// Its place among the answer's blocks.
    package var block: Int
    package var name: String
    /// All of it has come.
    package var isClosed: Bool
}

extension AnswerReader {
    /// A reader for those who judge calls of tools: it takes every kind for what it says.
    package static func forTools(_ api: ModelProtocol, streamed: Bool) -> AnswerReader {
        var reader = AnswerReader(api, streamed: streamed)
        reader.prefersText = true
        return reader
    }

    /// The calls from a block on, those of kinds that this reader does not model included.
    package func calls(from block: Int) -> [AnsweredCall] {
        builders.indices.dropFirst(block).compactMap { index in
            let builder = builders[index]
            switch builder.kind {
            case .toolUse: return AnsweredCall(block: index, name: builder.name, isClosed: builder.isClosed)
            case .other:
                let type = BlockBuilder.typeWord(builder.json)
                guard type.hasSuffix("_call") || type == "tool_use" else { return nil }
                return AnsweredCall(block: index, name: type, isClosed: builder.isClosed)
            case .text, .thinking, .redactedThinking: return nil
            }
        }
    }

    /// What the call in a block is made with; nil: not all of it is known.
    package func input(of block: Int) -> String? {
        if isTruncated { return nil }
        let builder = builders[block]
        if builder.kind == .other { return builder.json }
        return builder.bytes.isEmpty ? "{}" : String(decoding: builder.bytes, as: UTF8.self)
    }
}

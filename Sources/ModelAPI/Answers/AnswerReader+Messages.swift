import Core

extension AnswerReader {
    /// One event of an Anthropic Messages stream.
    mutating func messagesEvent(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        var type: JSONString?
        var index = 0
        var payload: Range<Int>?
        var usage: Range<Int>?
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("type") {
                type = try cursor.optionalString()
            } else if key.equals("index") {
                index = try cursor.optionalInt() ?? 0
            } else if key.equals("delta") || key.equals("content_block") || key.equals("message") || key.equals("error") {
                payload = try cursor.range()
            } else if key.equals("usage") {
                usage = try cursor.range()
            } else {
                try cursor.skipValue()
            }
        }
        guard let type else { return }
        if type.equals("content_block_delta") {
            guard let payload else { return }
            var inner = JSONCursor(cursor, in: payload)
            try messagesDelta(&inner, index, onDelta)
        } else if type.equals("content_block_start") {
            guard let payload else { return }
            var inner = JSONCursor(cursor, in: payload)
            try messagesBlock(&inner, index, onDelta)
        } else if type.equals("content_block_stop") {
            if let place = place(of: index) { builders[place].isClosed = true }
        } else if type.equals("message_start") {
            isStarted = true
            guard let payload else { return }
            var inner = JSONCursor(cursor, in: payload)
            try messagesFields(&inner, onDelta)
        } else if type.equals("message_delta") {
            if let payload {
                var inner = JSONCursor(cursor, in: payload)
                try messagesFields(&inner, onDelta)
            }
            if let usage {
                var inner = JSONCursor(cursor, in: usage)
                try tally.read(&inner)
                usageIsFinal = true
            }
        } else if type.equals("message_stop") {
            isComplete = error == nil && isStarted
        } else if type.equals("error") {
            guard let payload else { return }
            var inner = JSONCursor(cursor, in: payload)
            error = try UpstreamError.read(&inner) ?? UpstreamError(type: "error", message: "The provider gave no reason.")
            isComplete = false
        }
    }

    /// A plain answer: a message, or an error.
    mutating func messagesAnswer(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        try messagesFields(&cursor, onDelta)
        isStarted = error == nil
    }

    /// The fields of a message, whole or as the stream begins or ends it.
    private mutating func messagesFields(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { return try cursor.skipValue() }
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("id") {
                if let text = try cursor.optionalString() { id = text.string() }
            } else if key.equals("model") {
                if let text = try cursor.optionalString() { model = text.string() }
            } else if key.equals("stop_reason") {
                if let word = try cursor.optionalString() { stopReason = StopReason(word.string()) }
            } else if key.equals("stop_sequence") {
                if let text = try cursor.optionalString() { stopSequence = text.string() }
            } else if key.equals("usage") {
                try tally.read(&cursor)
            } else if key.equals("content"), cursor.peek() == UInt8(ascii: "[") {
                var blocks = try cursor.enterArray()
                var index = 0
                while try cursor.nextElement(&blocks) {
                    try messagesBlock(&cursor, index, onDelta)
                    index += 1
                }
            } else if key.equals("error"), cursor.peek() == UInt8(ascii: "{") {
                error = try UpstreamError.read(&cursor)
            } else {
                try cursor.skipValue()
            }
        }
    }

    /// A content block, whole or as it begins.
    private mutating func messagesBlock(
        _ cursor: inout JSONCursor, _ index: Int, _ onDelta: ((AnswerDelta) -> Void)?
    ) throws(JSONFailure) {
        let range = try cursor.range()
        var inner = JSONCursor(cursor, in: range)
        guard inner.peek() == UInt8(ascii: "{") else { return }
        var type: JSONString?
        var text: JSONString?
        var signature: JSONString?
        var id: JSONString?
        var name: JSONString?
        var input: Range<Int>?
        var hasMore = false
        var walk = try inner.enterObject()
        while let key = try inner.nextKey(&walk) {
            if key.equals("type") {
                type = try inner.optionalString()
            } else if key.equals("text") || key.equals("thinking") || key.equals("data") {
                text = try inner.optionalString()
            } else if key.equals("signature") {
                signature = try inner.optionalString()
            } else if key.equals("id") {
                id = try inner.optionalString()
            } else if key.equals("name") {
                name = try inner.optionalString()
            } else if key.equals("input") {
                input = try inner.range()
            } else if try !inner.skipNull() {
                // A field that this reader does not model, such as citations: in a whole block it must not get lost.
                hasMore = true
                try inner.skipValue()
            }
        }
        guard let type else { return }
        let isText = type.equals("text")
        let kind: BlockBuilder.Kind
        if isText, isStreamed || prefersText || !hasMore {
            kind = .text
        } else if type.equals("thinking") {
            kind = .thinking
        } else if type.equals("tool_use"), isStreamed || prefersText || !hasMore {
            kind = .toolUse
        } else if type.equals("redacted_thinking") {
            kind = .redactedThinking
        } else {
            kind = .other
        }
        guard let place = begin(index, kind) else { return }
        switch kind {
        case .text, .thinking, .redactedThinking:
            if let text, text.count > 0 {
                append(text, to: place)
                if kind != .redactedThinking { onDelta?(kind == .text ? .text(text.string()) : .thinking(text.string())) }
            }
            if let signature, fits(signature.count) { signature.append(to: &builders[place].signature) }
        case .toolUse:
            builders[place].id = id?.string() ?? ""
            builders[place].name = name?.string() ?? ""
            onDelta?(.toolUse(index: index, id: builders[place].id, name: builders[place].name))
            // A stream begins with an empty input and sends it in pieces; a plain answer has it here.
            if let input, inner.base[input.lowerBound] != UInt8(ascii: "{") || !isEmptyObject(input, inner) {
                take(input, of: inner, into: place)
                onDelta?(.toolInput(index: index, json: inner.text(input)))
            }
        case .other:
            generatedBytes += range.count
            if fits(range.count) { builders[place].json = cursor.text(range) }
        }
    }

    private func isEmptyObject(_ range: Range<Int>, _ cursor: JSONCursor) -> Bool {
        var cursor = JSONCursor(cursor, in: range.lowerBound + 1..<range.upperBound)
        return cursor.peek() == UInt8(ascii: "}")
    }

    private mutating func take(_ range: Range<Int>, of cursor: JSONCursor, into place: Int) {
        generatedBytes += range.count
        guard fits(range.count) else { return }
        builders[place].bytes.append(contentsOf: UnsafeBufferPointer(start: cursor.base + range.lowerBound, count: range.count))
    }

    /// A piece of a block. Blocks may be open side by side: the index alone says which one it belongs to.
    private mutating func messagesDelta(
        _ cursor: inout JSONCursor, _ index: Int, _ onDelta: ((AnswerDelta) -> Void)?
    ) throws(JSONFailure) {
        guard let place = place(of: index), cursor.peek() == UInt8(ascii: "{") else { return }
        var type: JSONString?
        var value: JSONString?
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("type") {
                type = try cursor.optionalString()
            } else if key.equals("text") || key.equals("partial_json") || key.equals("thinking") || key.equals("signature") {
                value = try cursor.optionalString()
            } else {
                try cursor.skipValue()
            }
        }
        guard let type, let value, value.count > 0 else { return }
        let kind = builders[place].kind
        if type.equals("text_delta"), kind == .text {
            append(value, to: place)
            onDelta?(.text(value.string()))
        } else if type.equals("input_json_delta"), kind == .toolUse || kind == .other {
            append(value, to: place)
            if kind == .toolUse { onDelta?(.toolInput(index: index, json: value.string())) }
        } else if type.equals("thinking_delta"), kind == .thinking {
            append(value, to: place)
            onDelta?(.thinking(value.string()))
        } else if type.equals("signature_delta"), kind == .thinking {
            if fits(value.count) { value.append(to: &builders[place].signature) }
        }
    }
}

extension JSONCursor {
    func text(_ range: Range<Int>) -> String {
        String(decoding: UnsafeBufferPointer(start: base + range.lowerBound, count: range.count), as: UTF8.self)
    }
}

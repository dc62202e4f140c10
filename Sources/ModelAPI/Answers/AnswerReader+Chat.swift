import Core

extension AnswerReader {
    /// One chunk of a Chat Completions stream, or a plain answer: the same object with `delta` or `message` in it.
    mutating func chatChunk(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { throw cursor.failure("an object") }
        var hasUsage = false
        var hasChoice = false
        let start = cursor
        var failure: Range<Int>?
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("choices"), cursor.peek() == UInt8(ascii: "[") {
                isStarted = true
                var elements = try cursor.enterArray()
                while try cursor.nextElement(&elements) {
                    hasChoice = true
                    if try chatChoice(&cursor, onDelta) { hasUsage = true }
                }
            } else if key.equals("usage") {
                if cursor.peek() == UInt8(ascii: "{") { hasUsage = true }
                try tally.read(&cursor)
            } else if key.equals("id") {
                if let text = try cursor.optionalString(), id == nil { id = text.string() }
            } else if key.equals("model") {
                if let text = try cursor.optionalString(), model == nil { model = text.string() }
            } else if key.equals("service_tier") {
                try tally.readServiceTier(&cursor)
            } else if key.equals("created") {
                if let seconds = try cursor.optionalInt() { created = seconds }
            } else if key.equals("error") {
                if cursor.peek() == UInt8(ascii: "n") { try cursor.skipValue() } else { failure = try cursor.range() }
            } else if key.equals("x_groq"), cursor.peek() == UInt8(ascii: "{") {
                if try usageInside(&cursor) { hasUsage = true }
            } else {
                try cursor.skipValue()
            }
        }
        if failure != nil {
            var whole = start
            error = try UpstreamError.read(&whole) ?? UpstreamError(type: "error", message: "The provider gave no reason.")
            isComplete = false
        }
        if hasUsage, stopReason != nil {
            usageIsFinal = true
            // The chunk behind the last one: nothing but [DONE] can follow.
            if !hasChoice, error == nil { isComplete = true }
        }
    }

    /// - Returns: whether usage lay in it, as Moonshot sends it.
    private mutating func chatChoice(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) -> Bool {
        guard cursor.peek() == UInt8(ascii: "{") else {
            try cursor.skipValue()
            return false
        }
        var index = 0
        var content: Range<Int>?
        var stop: JSONString?
        var hasUsage = false
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("index") {
                index = try cursor.optionalInt() ?? 0
            } else if key.equals("delta") || key.equals("message") {
                content = try cursor.range()
            } else if key.equals("finish_reason") {
                stop = try cursor.optionalString()
            } else if key.equals("usage"), cursor.peek() == UInt8(ascii: "{") {
                hasUsage = true
                try tally.read(&cursor)
            } else {
                try cursor.skipValue()
            }
        }
        if choices.count < 128 { choices.insert(index) }
        if let content {
            var inner = JSONCursor(cursor, in: content)
            // Of several answers the first is read; the others are only counted.
            if index == 0 { try chatDelta(&inner, onDelta) } else { generatedBytes += content.count }
        }
        if let stop, stop.count > 0 {
            if choices.contains(index) { finishedChoices.insert(index) }
            if index == 0 || stopReason == nil { stopReason = StopReason(stop.string()) }
            if index == 0 { for place in builders.indices { builders[place].isClosed = true } }
        }
        return hasUsage
    }

    /// Blocks of the answer get numbers of their own, as the protocol numbers nothing but tool calls.
    private enum Number {
        static let thinking = -3
        static let text = -2
    }

    private mutating func chatDelta(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { return }
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("content") || key.equals("refusal") {
                try chatText(&cursor, Number.text, .text, onDelta)
            } else if key.equals("reasoning_content") || key.equals("reasoning") {
                try chatText(&cursor, Number.thinking, .thinking, onDelta)
            } else if key.equals("tool_calls"), cursor.peek() == UInt8(ascii: "[") {
                var calls = try cursor.enterArray()
                var position = 0
                while try cursor.nextElement(&calls) {
                    try chatToolCall(&cursor, position, onDelta)
                    position += 1
                }
            } else {
                try cursor.skipValue()
            }
        }
    }

    /// A string, or with Mistral a list of parts: `{"type":"text","text":…}`, `{"type":"thinking","thinking":[…]}`.
    private mutating func chatText(
        _ cursor: inout JSONCursor, _ number: Int, _ kind: BlockBuilder.Kind, _ onDelta: ((AnswerDelta) -> Void)?
    ) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "[") else {
            guard let text = try cursor.optionalString(), text.count > 0 else { return }
            guard let place = place(of: number) ?? begin(number, kind) else { return }
            append(text, to: place)
            onDelta?(kind == .text ? .text(text.string()) : .thinking(text.string()))
            return
        }
        var parts = try cursor.enterArray()
        while try cursor.nextElement(&parts) {
            guard cursor.peek() == UInt8(ascii: "{") else {
                try cursor.skipValue()
                continue
            }
            var walk = try cursor.enterObject()
            while let key = try cursor.nextKey(&walk) {
                if key.equals("text"), cursor.peek() == UInt8(ascii: "\"") {
                    try chatText(&cursor, number, kind, onDelta)
                } else if key.equals("thinking"), kind == .text {
                    // One level only: inside a thinking part the kind is no longer text.
                    try chatText(&cursor, Number.thinking, .thinking, onDelta)
                } else {
                    try cursor.skipValue()
                }
            }
        }
    }

    private mutating func chatToolCall(
        _ cursor: inout JSONCursor, _ position: Int, _ onDelta: ((AnswerDelta) -> Void)?
    ) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { return try cursor.skipValue() }
        var index = position
        var id: JSONString?
        var name: JSONString?
        var arguments: Range<Int>?
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("index") {
                index = try cursor.optionalInt() ?? position
            } else if key.equals("id") {
                id = try cursor.optionalString()
            } else if key.equals("function"), cursor.peek() == UInt8(ascii: "{") {
                var function = try cursor.enterObject()
                while let key = try cursor.nextKey(&function) {
                    if key.equals("name") {
                        name = try cursor.optionalString()
                    } else if key.equals("arguments") {
                        arguments = try cursor.range()
                    } else {
                        try cursor.skipValue()
                    }
                }
            } else {
                try cursor.skipValue()
            }
        }
        index = max(0, index)
        guard let place = toolPlace(index, id, name, onDelta) else { return }
        if let arguments {
            var inner = JSONCursor(cursor, in: arguments)
            // A string of JSON; some servers send the object itself.
            if inner.peek() == UInt8(ascii: "{") {
                generatedBytes += arguments.count
                if fits(arguments.count) {
                    let start = inner.base + arguments.lowerBound
                    builders[place].bytes.append(contentsOf: UnsafeBufferPointer(start: start, count: arguments.count))
                }
                onDelta?(.toolInput(index: index, json: inner.text(arguments)))
            } else if let text = try inner.optionalString(), text.count > 0 {
                append(text, to: place)
                onDelta?(.toolInput(index: index, json: text.string()))
            }
        }
    }

    /// The call that a fragment belongs to: the newest with its index, unless the fragment brings another id, which some servers
    /// send with every call at index 0.
    private mutating func toolPlace(
        _ index: Int, _ id: JSONString?, _ name: JSONString?, _ onDelta: ((AnswerDelta) -> Void)?
    ) -> Int? {
        let newID = id?.string() ?? ""
        if let place = place(of: index), newID.isEmpty || builders[place].id.isEmpty || builders[place].id == newID {
            if builders[place].id.isEmpty { builders[place].id = newID }
            if builders[place].name.isEmpty, let name { builders[place].name = name.string() }
            return place
        }
        guard let place = begin(index, .toolUse) else { return nil }
        builders[place].id = newID
        builders[place].name = name?.string() ?? ""
        onDelta?(.toolUse(index: index, id: newID, name: builders[place].name))
        return place
    }

    private mutating func usageInside(_ cursor: inout JSONCursor) throws(JSONFailure) -> Bool {
        var found = false
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("usage"), cursor.peek() == UInt8(ascii: "{") {
                found = true
                try tally.read(&cursor)
            } else {
                try cursor.skipValue()
            }
        }
        return found
    }
}

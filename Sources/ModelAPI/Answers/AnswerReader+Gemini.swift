import Core

extension AnswerReader {
    /// A plain answer; without `alt=sse` a stream is an array of its chunks.
    mutating func geminiAnswer(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "[") else { return try geminiChunk(&cursor, onDelta) }
        var walk = try cursor.enterArray()
        while try cursor.nextElement(&walk) { try geminiChunk(&cursor, onDelta) }
    }

    /// One chunk: what the model said since the last one, and the usage up to here.
    mutating func geminiChunk(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { throw cursor.failure("an object") }
        var hasUsage = false
        var hasError = false
        var candidates: Range<Int>?
        let start = cursor
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("candidates"), cursor.peek() == UInt8(ascii: "[") {
                candidates = try cursor.range()
            } else if key.equals("usageMetadata") {
                hasUsage = cursor.peek() == UInt8(ascii: "{")
                try tally.read(&cursor)
            } else if key.equals("modelVersion") {
                if let text = try cursor.optionalString() { model = text.string() }
            } else if key.equals("responseId") {
                if let text = try cursor.optionalString() { id = text.string() }
            } else if key.equals("promptFeedback"), cursor.peek() == UInt8(ascii: "{") {
                var feedback = try cursor.enterObject()
                while let key = try cursor.nextKey(&feedback) {
                    if key.equals("blockReason") { stopReason = .refusal }
                    try cursor.skipValue()
                }
            } else if key.equals("error"), try !cursor.skipNull() {
                hasError = true
                try cursor.skipValue()
            } else if !key.equals("error") {
                try cursor.skipValue()
            }
        }
        if let candidates {
            // Only now: calls without an id get one made of the answer's, which stands behind them.
            isStarted = true
            var inner = JSONCursor(cursor, in: candidates)
            var elements = try inner.enterArray()
            while try inner.nextElement(&elements) { try geminiCandidate(&inner, onDelta) }
        }
        if hasError {
            var whole = start
            error = try UpstreamError.read(&whole) ?? UpstreamError(type: "error", message: "The provider gave no reason.")
        }
        guard stopReason != nil else { return }
        if hasUsage { usageIsFinal = true }
        isComplete = error == nil && usageIsFinal
        nameCalls()
    }

    private mutating func geminiCandidate(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { return try cursor.skipValue() }
        var index = 0
        var content: Range<Int>?
        var stop: JSONString?
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("index") {
                index = try cursor.optionalInt() ?? 0
            } else if key.equals("content") {
                content = try cursor.range()
            } else if key.equals("finishReason") {
                stop = try cursor.optionalString()
            } else {
                try cursor.skipValue()
            }
        }
        if choices.count < 128 { choices.insert(index) }
        if let content {
            // Of several answers the first is read; the others are only counted.
            if index == 0 { try geminiContent(JSONCursor(cursor, in: content), onDelta) } else { generatedBytes += content.count }
        }
        if let stop, stop.count > 0 {
            if choices.contains(index) { finishedChoices.insert(index) }
            if index == 0 || stopReason == nil { stopReason = StopReason(stop.string()) }
        }
    }

    private mutating func geminiContent(_ content: JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        var cursor = content
        guard cursor.peek() == UInt8(ascii: "{") else { return }
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            guard key.equals("parts"), cursor.peek() == UInt8(ascii: "[") else {
                try cursor.skipValue()
                continue
            }
            var parts = try cursor.enterArray()
            while try cursor.nextElement(&parts) { try geminiPart(&cursor, onDelta) }
        }
    }

    private mutating func geminiPart(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        let range = try cursor.range()
        var inner = JSONCursor(cursor, in: range)
        guard inner.peek() == UInt8(ascii: "{") else { return }
        var text: JSONString?
        var isThought = false
        var signature: JSONString?
        var call: Range<Int>?
        var isOther = false
        var walk = try inner.enterObject()
        while let key = try inner.nextKey(&walk) {
            if key.equals("text") {
                text = try inner.optionalString()
            } else if key.equals("thought") {
                isThought = try inner.optionalBool() ?? false
            } else if key.equals("thoughtSignature") {
                signature = try inner.optionalString()
            } else if key.equals("functionCall") {
                call = try inner.range()
            } else {
                isOther = true
                try inner.skipValue()
            }
        }
        if isOther {
            guard let place = begin(builders.count, .other) else { return }
            builders[place].isClosed = true
            generatedBytes += range.count
            if fits(range.count) { builders[place].json = cursor.text(range) }
        } else if let call {
            if let signature { signed(signature) }
            try geminiCall(JSONCursor(inner, in: call), onDelta)
        } else if isThought {
            guard let place = open(.thinking) else { return }
            if let text, text.count > 0 {
                append(text, to: place)
                onDelta?(.thinking(text.string()))
            }
            if let signature, fits(signature.count) { signature.append(to: &builders[place].signature) }
        } else {
            if let signature { signed(signature) }
            guard let text, text.count > 0, let place = open(.text) else { return }
            append(text, to: place)
            onDelta?(.text(text.string()))
        }
    }

    /// The signature of the part that follows: a thought without text.
    private mutating func signed(_ signature: JSONString) {
        guard signature.count > 0, let place = begin(builders.count, .thinking), fits(signature.count) else { return }
        signature.append(to: &builders[place].signature)
        builders[place].isClosed = true
    }

    /// The block that the pieces of a text go on with: the last one, if it is of the kind and takes more.
    private mutating func open(_ kind: BlockBuilder.Kind) -> Int? {
        if let last = builders.indices.last, builders[last].kind == kind, !builders[last].isClosed,
            builders[last].signature.isEmpty
        {
            return last
        }
        return begin(builders.count, kind)
    }

    /// A call comes whole, and often without an id.
    private mutating func geminiCall(_ call: JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        var cursor = call
        guard cursor.peek() == UInt8(ascii: "{") else { return }
        guard let place = begin(builders.count, .toolUse) else { return }
        builders[place].isClosed = true
        var arguments: Range<Int>?
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("id") {
                builders[place].id = try cursor.optionalString()?.string() ?? ""
            } else if key.equals("name") {
                builders[place].name = try cursor.optionalString()?.string() ?? ""
            } else if key.equals("args") {
                arguments = try cursor.range()
            } else {
                try cursor.skipValue()
            }
        }
        if builders[place].id.isEmpty { builders[place].id = "\(GeminiCallID.prefix)\(id ?? "")_\(place)" }
        onDelta?(.toolUse(index: place, id: builders[place].id, name: builders[place].name))
        guard let arguments else { return }
        generatedBytes += arguments.count
        if fits(arguments.count) {
            let start = cursor.base + arguments.lowerBound
            builders[place].bytes = Array(UnsafeBufferPointer(start: start, count: arguments.count))
        }
        onDelta?(.toolInput(index: place, json: cursor.text(arguments)))
    }

    /// The protocol has one word for both ends of a turn.
    private mutating func nameCalls() {
        if stopReason == .endTurn, builders.contains(where: { $0.kind == .toolUse }) { stopReason = .toolUse }
    }
}

/// Ids that Slipway gave to calls that came without one; the provider must not see them.
enum GeminiCallID {
    static let prefix = "call_slipway_"
}

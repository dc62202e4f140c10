import Core

extension AnswerReader {
    /// One event of an OpenAI Responses stream. Items are keyed by `output_index`.
    mutating func responsesEvent(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        var type: JSONString?
        var index = 0
        var delta: JSONString?
        var payload: Range<Int>?
        let start = cursor
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("type") {
                type = try cursor.optionalString()
            } else if key.equals("output_index") {
                index = try cursor.optionalInt() ?? 0
            } else if key.equals("delta") {
                delta = try cursor.optionalString()
            } else if key.equals("item") || key.equals("response") {
                payload = try cursor.range()
            } else if key.equals("sequence_number") {
                sequence = try cursor.optionalInt() ?? sequence
            } else {
                try cursor.skipValue()
            }
        }
        guard let type else { return }
        if let delta {
            try responsesDelta(type, index, delta, onDelta)
        } else if type.equals("error") {
            var whole = start
            error = try UpstreamError.read(&whole) ?? UpstreamError(type: "error", message: "The provider gave no reason.")
            isComplete = false
        } else if type.equals("response.reasoning_summary_part.added") {
            if let place = place(of: index), !builders[place].bytes.isEmpty, fits(2) {
                builders[place].bytes.append(contentsOf: "\n\n".utf8)
            }
        } else if let payload {
            var inner = JSONCursor(cursor, in: payload)
            if type.equals("response.output_item.added") {
                try responsesItem(&inner, index, isDone: false, onDelta)
            } else if type.equals("response.output_item.done") {
                try responsesItem(&inner, index, isDone: true, onDelta)
            } else if type.hasPrefix("response.") {
                let isEnd = ["completed", "incomplete", "failed"].contains { type.string() == "response." + $0 }
                try responsesObject(&inner, isEnd: isEnd, onDelta)
            }
        }
    }

    /// A plain answer.
    mutating func responsesAnswer(_ cursor: inout JSONCursor, _ onDelta: ((AnswerDelta) -> Void)?) throws(JSONFailure) {
        try responsesObject(&cursor, isEnd: true, onDelta)
    }

    private mutating func responsesDelta(
        _ type: JSONString, _ index: Int, _ delta: JSONString, _ onDelta: ((AnswerDelta) -> Void)?
    ) throws(JSONFailure) {
        guard delta.count > 0, let place = place(of: index) else { return }
        let kind = builders[place].kind
        if type.equals("response.output_text.delta") || type.equals("response.refusal.delta"), kind == .text {
            append(delta, to: place)
            onDelta?(.text(delta.string()))
        } else if type.equals("response.function_call_arguments.delta") || type.equals("response.custom_tool_call_input.delta"),
            kind == .toolUse
        {
            append(delta, to: place)
            onDelta?(.toolInput(index: index, json: delta.string()))
        } else if type.equals("response.reasoning_summary_text.delta") || type.equals("response.reasoning_text.delta"),
            kind == .thinking
        {
            append(delta, to: place)
            onDelta?(.thinking(delta.string()))
        }
    }

    /// The answer as it stands: at the beginning, and whole at the end.
    private mutating func responsesObject(
        _ cursor: inout JSONCursor, isEnd: Bool, _ onDelta: ((AnswerDelta) -> Void)?
    ) throws(JSONFailure) {
        guard cursor.peek() == UInt8(ascii: "{") else { throw cursor.failure("an object") }
        var status: String?
        var reason: String?
        var output: Range<Int>?
        let start = cursor
        var walk = try cursor.enterObject()
        while let key = try cursor.nextKey(&walk) {
            if key.equals("id") {
                if let text = try cursor.optionalString() { id = text.string() }
            } else if key.equals("model") {
                if let text = try cursor.optionalString() { model = text.string() }
            } else if key.equals("service_tier") {
                try tally.readServiceTier(&cursor)
            } else if key.equals("created_at") {
                created = try cursor.optionalInt() ?? created
            } else if key.equals("status") {
                status = try cursor.optionalString()?.string()
            } else if key.equals("incomplete_details"), cursor.peek() == UInt8(ascii: "{") {
                var details = try cursor.enterObject()
                while let key = try cursor.nextKey(&details) {
                    let word = try cursor.optionalString()
                    if key.equals("reason") { reason = word?.string() }
                }
            } else if key.equals("usage") {
                if cursor.peek() == UInt8(ascii: "{"), isEnd { usageIsFinal = true }
                try tally.read(&cursor)
            } else if key.equals("error") {
                if try cursor.skipNull() { continue }
                try cursor.skipValue()
                var whole = start
                error = try UpstreamError.read(&whole)
            } else if key.equals("output") {
                output = try cursor.range()
            } else {
                try cursor.skipValue()
            }
        }
        isStarted = isStarted || id != nil
        guard isEnd else { return }
        // In a stream the items have come one by one; the end repeats them.
        if let output, builders.isEmpty {
            var inner = JSONCursor(cursor, in: output)
            if inner.peek() == UInt8(ascii: "[") {
                var items = try inner.enterArray()
                var index = 0
                while try inner.nextElement(&items) {
                    try responsesItem(&inner, index, isDone: true, onDelta)
                    index += 1
                }
            }
        }
        try end(status: status, reason: reason)
    }

    private mutating func end(status: String?, reason: String?) throws(JSONFailure) {
        switch status {
        case "completed":
            stopReason = builders.contains { $0.kind == .toolUse } ? .toolUse : .endTurn
        case "incomplete": stopReason = StopReason(reason ?? "incomplete")
        case "failed", "cancelled":
            if error == nil { error = UpstreamError(type: status ?? "failed", message: "The provider gave no reason.") }
        default: break
        }
        isComplete = error == nil && stopReason != nil
    }

    /// An item as it begins, or as it ended: what the deltas did not bring is then taken from it.
    private mutating func responsesItem(
        _ cursor: inout JSONCursor, _ index: Int, isDone: Bool, _ onDelta: ((AnswerDelta) -> Void)?
    ) throws(JSONFailure) {
        let range = try cursor.range()
        var inner = JSONCursor(cursor, in: range)
        guard inner.peek() == UInt8(ascii: "{") else { return }
        var type = ""
        var callID: JSONString?
        var name: JSONString?
        var input: JSONString?
        var content: [Range<Int>] = []
        var walk = try inner.enterObject()
        while let key = try inner.nextKey(&walk) {
            if key.equals("type") {
                type = try inner.optionalString()?.string() ?? ""
            } else if key.equals("call_id") {
                callID = try inner.optionalString()
            } else if key.equals("name") {
                name = try inner.optionalString()
            } else if key.equals("arguments") || key.equals("input") {
                input = try inner.optionalString()
            } else if key.equals("content") || key.equals("summary") {
                content.append(try inner.range())
            } else {
                try inner.skipValue()
            }
        }
        let kind: BlockBuilder.Kind =
            switch type {
            case "message": .text
            case "function_call", "custom_tool_call": .toolUse
            case "reasoning": .thinking
            default: .other
            }
        let known = place(of: index).flatMap { builders[$0].kind == kind && !builders[$0].isClosed ? $0 : nil }
        guard let place = known ?? begin(index, kind) else { return }
        builders[place].isClosed = isDone
        switch kind {
        case .text, .thinking:
            if builders[place].bytes.isEmpty {
                for part in content { try responsesParts(JSONCursor(inner, in: part), place, onDelta) }
            }
            // The item itself is what has to come back: it holds the encrypted reasoning.
            if kind == .thinking, isDone, fits(range.count) {
                builders[place].signature = Array(
                    UnsafeBufferPointer(start: cursor.base + range.lowerBound, count: range.count))
            }
        case .toolUse:
            if known == nil {
                builders[place].id = callID?.string() ?? ""
                builders[place].name = name?.string() ?? ""
                onDelta?(.toolUse(index: index, id: builders[place].id, name: builders[place].name))
            }
            if let input, input.count > 0, builders[place].bytes.isEmpty {
                append(input, to: place)
                onDelta?(.toolInput(index: index, json: input.string()))
            }
        case .other, .redactedThinking:
            if isDone, type == "web_search_call" { tally.webSearches = min((tally.webSearches ?? 0) + 1, 1_000_000) }
            if known == nil { generatedBytes += range.count }
            if fits(range.count) { builders[place].json = cursor.text(range) }
        }
    }

    /// `[{"type":"output_text","text":…}]`, a refusal or a summary.
    private mutating func responsesParts(
        _ parts: JSONCursor, _ place: Int, _ onDelta: ((AnswerDelta) -> Void)?
    ) throws(JSONFailure) {
        var cursor = parts
        guard cursor.peek() == UInt8(ascii: "[") else { return }
        var walk = try cursor.enterArray()
        while try cursor.nextElement(&walk) {
            guard cursor.peek() == UInt8(ascii: "{") else {
                try cursor.skipValue()
                continue
            }
            var fields = try cursor.enterObject()
            while let key = try cursor.nextKey(&fields) {
                guard key.equals("text") || key.equals("refusal") else {
                    try cursor.skipValue()
                    continue
                }
                guard let text = try cursor.optionalString(), text.count > 0 else { continue }
                let isThinking = builders[place].kind == .thinking
                if isThinking, !builders[place].bytes.isEmpty { builders[place].bytes.append(contentsOf: "\n\n".utf8) }
                append(text, to: place)
                onDelta?(isThinking ? .thinking(text.string()) : .text(text.string()))
            }
        }
    }
}

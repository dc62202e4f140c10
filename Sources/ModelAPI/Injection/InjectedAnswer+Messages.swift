import NIOCore

/// Anthropic Messages.
extension InjectedAnswer {
    mutating func messages(_ event: EventSplitter.Event, _ fields: JSONObjectText, _ output: inout ByteBuffer) {
        switch fields.string("type") {
        case "message_start":
            usage = UsageSum.overlay(usage, fields.object("message")?.object("usage"))
            if rounds == 1 { output.writeImmutableBuffer(event.bytes) }
        case "content_block_start":
            guard let index = fields["index"].flatMap({ Int($0) }) else { return }
            let block = fields.object("content_block")
            if block?.string("type") == "tool_use", let name = block?.string("name"), hidden.contains(name) {
                places[index] = .some(nil)
                return
            }
            places[index] = next
            next += 1
            write(event, fields, index, &output)
        case "content_block_delta", "content_block_stop":
            guard let index = fields["index"].flatMap({ Int($0) }) else { return }
            write(event, fields, index, &output)
        case "message_delta":
            usage = UsageSum.overlay(usage, fields.object("usage"))
            ending.append(event)
        case "message_stop": ending.append(event)
        default: output.writeImmutableBuffer(event.bytes)
        }
    }

    private func write(_ event: EventSplitter.Event, _ fields: JSONObjectText, _ index: Int, _ output: inout ByteBuffer) {
        guard let place = places[index] ?? index else { return }
        if place == index {
            output.writeImmutableBuffer(event.bytes)
        } else {
            var fields = fields
            fields["index"] = "\(place)"
            Self.write(fields, &output)
        }
    }

    func closeMessages(_ event: EventSplitter.Event, _ output: inout ByteBuffer) {
        guard isMerged, var fields = event.text.flatMap({ JSONObjectText($0) }), fields.string("type") == "message_delta" else {
            output.writeImmutableBuffer(event.bytes)
            return
        }
        if let total { fields["usage"] = total.numbers.text }
        fields["delta"] = stopped(fields.object("delta"))?.text
        Self.write(fields, &output)
    }

    /// An answer whose last calls are all hidden does not wait for the client.
    private func stopped(_ object: JSONObjectText?) -> JSONObjectText? {
        guard var object else { return nil }
        if object.string("stop_reason") == "tool_use", round.clientCalls.isEmpty { object["stop_reason"] = #""end_turn""# }
        return object
    }

    // MARK: Whole

    mutating func readWholeMessages(_ fields: JSONObjectText) {
        usage = fields.object("usage")
        let content = fields["content"].flatMap(JSONText.elements) ?? []
        if !content.isEmpty {
            round.turn = [#"{"role":"assistant","content":[\#(content.joined(separator: ","))]}"#]
        }
        items += content.filter { block in
            guard let block = JSONObjectText(block), block.string("type") == "tool_use", let name = block.string("name") else {
                return true
            }
            return !hidden.contains(name)
        }
    }

    func closedWholeMessages(_ last: JSONObjectText) -> JSONObjectText {
        var fields = stopped(last) ?? last
        fields["content"] = "[" + items.joined(separator: ",") + "]"
        if let total { fields["usage"] = total.text }
        return fields
    }
}

extension JSONObjectText {
    /// Without what is no count.
    var numbers: JSONObjectText {
        var result = JSONObjectText()
        for name in names {
            guard let value = self[name], Int(value) != nil || JSONText.isObject(value) else { continue }
            result[name] = value
        }
        return result
    }
}

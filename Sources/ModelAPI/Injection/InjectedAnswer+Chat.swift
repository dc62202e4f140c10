import NIOCore

/// OpenAI Chat Completions. A call into which tools are injected has one answer (`n` is 1).
extension InjectedAnswer {
    private static let joint = "\n\n"

    mutating func chat(_ event: EventSplitter.Event, _ fields: JSONObjectText, _ output: inout ByteBuffer) {
        if fields["error"].map({ $0 != "null" }) == true { return pass(event, &output) }
        if let told = fields.object("usage") { usage = UsageSum.overlay(usage, told) }
        let choices = fields["choices"].flatMap(JSONText.elements) ?? []
        guard let choice = choices.first.flatMap({ JSONObjectText($0) }) else {
            if fields.object("usage") != nil { return ending.append(event) }
            if rounds == 1 { output.writeImmutableBuffer(event.bytes) }
            return
        }
        if id == nil { (id, created) = (fields["id"], fields["created"]) }
        var shown = choice
        let (delta, isChanged) = shownDelta(choice.object("delta") ?? JSONObjectText())
        if isChanged { shown["delta"] = delta.text }
        let isEnd = choice["finish_reason"].map { $0 != "null" } ?? false
        if isEnd {
            ending.append(event)
            // What the last piece says is not part of the end, which may be withheld.
            shown["finish_reason"] = "null"
            if delta.saysNothing { return }
        } else if isChanged, delta.saysNothing {
            return
        }
        if rounds == 1, !isChanged, !isEnd { return pass(event, &output) }
        var chunk = identified(fields)
        if isEnd { chunk["usage"] = nil }
        chunk["choices"] = "[\(shown.text)]"
        Self.write(chunk, named: false, &output)
    }

    /// What the client gets of a piece.
    private mutating func shownDelta(_ delta: JSONObjectText) -> (JSONObjectText, isChanged: Bool) {
        var shown = delta
        var isChanged = false
        if let calls = delta["tool_calls"].flatMap(JSONText.elements) {
            var kept: [String] = []
            for call in calls {
                guard var fields = JSONObjectText(call) else { continue }
                let index = fields["index"].flatMap { Int($0) } ?? 0
                if places[index] == nil {
                    let isHidden = fields.object("function")?.string("name").map { hidden.contains($0) } ?? false
                    places[index] = isHidden ? .some(nil) : next
                    if !isHidden { next += 1 }
                }
                guard let place = places[index] ?? nil else {
                    isChanged = true
                    continue
                }
                if place != index {
                    fields["index"] = "\(place)"
                    isChanged = true
                }
                kept.append(fields.text)
            }
            if isChanged { shown["tool_calls"] = kept.isEmpty ? nil : "[" + kept.joined(separator: ",") + "]" }
        }
        if rounds > 1 {
            if shown["role"] != nil {
                // Clients that put deltas together would say it twice.
                shown["role"] = nil
                isChanged = true
            }
            if needsJoint, let text = shown.string("content"), !text.isEmpty {
                shown["content"] = JSONText.quoted(Self.joint + text)
                needsJoint = false
                isChanged = true
            }
        }
        return (shown, isChanged)
    }

    private func identified(_ fields: JSONObjectText) -> JSONObjectText {
        var fields = fields
        if rounds > 1 {
            if let id { fields["id"] = id }
            if let created { fields["created"] = created }
        }
        return fields
    }

    func closeChat(_ event: EventSplitter.Event, _ output: inout ByteBuffer) {
        guard var fields = event.text.flatMap({ JSONObjectText($0) }) else { return pass(event, &output) }
        if isMerged {
            fields = identified(fields)
            if fields.object("usage") != nil, let total { fields["usage"] = total.text }
        }
        if let text = fields["choices"].flatMap(JSONText.elements)?.first, var choice = JSONObjectText(text) {
            let delta = choice.object("delta") ?? JSONObjectText()
            if !isMerged, delta.saysNothing { return pass(event, &output) }
            // What it said went out before.
            choice["delta"] = "{}"
            fields["choices"] = "[\(stopped(choice).text)]"
        } else if !isMerged {
            return pass(event, &output)
        }
        Self.write(fields, named: false, &output)
    }

    private func stopped(_ choice: JSONObjectText) -> JSONObjectText {
        var choice = choice
        if choice.string("finish_reason") == "tool_calls", round.clientCalls.isEmpty { choice["finish_reason"] = #""stop""# }
        return choice
    }

    // MARK: Whole

    mutating func readWholeChat(_ fields: JSONObjectText) {
        usage = fields.object("usage")
        if id == nil { (id, created) = (fields["id"], fields["created"]) }
        guard let choice = fields["choices"].flatMap(JSONText.elements)?.first.flatMap({ JSONObjectText($0) }),
            let message = choice.object("message")
        else { return }
        round.turn = [message.text]
        if let text = message.string("content"), !text.isEmpty { texts.append(text) }
        items += (message["tool_calls"].flatMap(JSONText.elements) ?? []).filter { call in
            guard let name = JSONObjectText(call)?.object("function")?.string("name") else { return true }
            return !hidden.contains(name)
        }
    }

    func closedWholeChat(_ last: JSONObjectText) -> JSONObjectText {
        var fields = identified(last)
        if let total { fields["usage"] = total.text }
        guard let text = fields["choices"].flatMap(JSONText.elements)?.first, var choice = JSONObjectText(text),
            var message = choice.object("message")
        else { return fields }
        if !texts.isEmpty { message["content"] = JSONText.quoted(texts.joined(separator: Self.joint)) }
        message["tool_calls"] = items.isEmpty ? nil : "[" + items.joined(separator: ",") + "]"
        choice["message"] = message.text
        fields["choices"] = "[\(stopped(choice).text)]"
        return fields
    }
}

extension JSONObjectText {
    /// Of a delta: nothing in it is for anybody.
    fileprivate var saysNothing: Bool {
        names.allSatisfy { name in
            guard let value = self[name] else { return true }
            return value == "null" || value == "\"\"" || value == "[]" || value == "{}"
        }
    }
}

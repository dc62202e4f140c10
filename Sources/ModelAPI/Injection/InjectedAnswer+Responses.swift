import NIOCore

/// OpenAI Responses.
extension InjectedAnswer {
    mutating func responses(_ event: EventSplitter.Event, _ fields: JSONObjectText, _ output: inout ByteBuffer) {
        let type = fields.string("type") ?? ""
        switch type {
        case "response.created", "response.in_progress", "response.queued":
            if rounds > 1 { return }
            if id == nil { id = fields.object("response")?["id"] }
            var fields = fields
            fields["response"] = fields.object("response").map { shown($0).text }
            write(event, fields, &output)
        case "response.completed", "response.incomplete":
            read(fields.object("response") ?? JSONObjectText())
            ending.append(event)
        case "response.failed":
            var fields = fields
            if let response = fields.object("response") { fields["response"] = failed(response).text }
            write(event, fields, &output)
        default:
            guard let index = fields["output_index"].flatMap({ Int($0) }) else { return write(event, fields, &output) }
            if type == "response.output_item.added" {
                places[index] = fields.object("item").map(isHidden) == true ? .some(nil) : next
                if (places[index] ?? nil) != nil { next += 1 }
            }
            guard let place = places[index] ?? index else { return }
            var fields = fields
            if place != index { fields["output_index"] = "\(place)" }
            write(event, fields, &output)
        }
    }

    private func isHidden(_ item: JSONObjectText) -> Bool {
        item.string("type") == "function_call" && item.string("name").map { hidden.contains($0) } ?? false
    }

    /// In its turn.
    private mutating func write(_ event: EventSplitter.Event, _ fields: JSONObjectText, _ output: inout ByteBuffer) {
        var fields = fields
        if fields["sequence_number"] != nil {
            fields["sequence_number"] = "\(sequence)"
            sequence += 1
        }
        if event.text.flatMap({ JSONObjectText($0) }) == fields { return pass(event, &output) }
        Self.write(fields, &output)
    }

    /// The response without the tools that the client never sent.
    private func shown(_ response: JSONObjectText) -> JSONObjectText {
        var response = response
        if response["tools"] != nil { response["tools"] = clientTools ?? "[]" }
        return response
    }

    /// As far as it came, of all rounds.
    private func failed(_ response: JSONObjectText) -> JSONObjectText {
        var response = shown(response)
        if let id { response["id"] = id }
        let output = response["output"].flatMap(JSONText.elements) ?? []
        let own = output.filter { JSONObjectText($0).map(isHidden) != true }
        if !items.isEmpty || own.count < output.count { response["output"] = "[" + (items + own).joined(separator: ",") + "]" }
        if let total { response["usage"] = UsageSum.add(total, response.object("usage"))?.text }
        return response
    }

    /// What the whole answer of a round says.
    private mutating func read(_ response: JSONObjectText) {
        usage = response.object("usage")
        round.response = response.string("id")
        if id == nil { id = response["id"] }
        for text in response["output"].flatMap(JSONText.elements) ?? [] {
            guard let item = JSONObjectText(text) else { continue }
            let type = item.string("type") ?? ""
            if isHidden(item) {
                let arguments = item.string("arguments") ?? ""
                note(
                    id: item.string("call_id") ?? "", name: item.string("name") ?? "",
                    arguments: arguments.isEmpty ? "{}" : arguments,
                    isWhole: arguments.isEmpty || JSONText.isObject(arguments))
            } else {
                items.append(text)
                if let call = item.string("call_id") { round.clientCalls.append(call) }
            }
            let isLost = type == "reasoning" && !isStored && item.string("encrypted_content") == nil
            if !isLost { round.turn.append(text) }
        }
    }

    mutating func closeResponses(_ event: EventSplitter.Event, _ output: inout ByteBuffer) {
        guard var fields = event.text.flatMap({ JSONObjectText($0) }), let response = fields.object("response") else {
            return pass(event, &output)
        }
        fields["response"] = closed(response).text
        write(event, fields, &output)
    }

    private func closed(_ response: JSONObjectText) -> JSONObjectText {
        var response = shown(response)
        if isMerged {
            // A stream has told its id already; of a whole answer the provider knows the last one best.
            if isStreamed, let id { response["id"] = id }
            response["output"] = "[" + items.joined(separator: ",") + "]"
            if let total { response["usage"] = total.text }
        }
        return response
    }

    // MARK: Whole

    mutating func readWhole() {
        guard let fields = JSONObjectText(String(buffer: whole)) else { return }
        head = fields
        switch api {
        case .messages: readWholeMessages(fields)
        case .chatCompletions: readWholeChat(fields)
        case .responses: read(fields)
        case .gemini: break
        }
    }

    func closedWhole() -> ByteBuffer {
        guard let head else { return whole }
        switch api {
        case .messages: return ByteBuffer(string: closedWholeMessages(head).text)
        case .chatCompletions: return ByteBuffer(string: closedWholeChat(head).text)
        case .responses:
            let closed = closed(head)
            return closed == head ? whole : ByteBuffer(string: closed.text)
        case .gemini: return whole
        }
    }
}

/// Writes an answer's events in a client's protocol: as a stream, event by event.
protocol AnswerEncoder: Sendable {
    mutating func write(_ event: AnswerEvent, into bytes: inout [UInt8])
}

/// What of the client's request its answer depends on.
package struct AnswerContext: Sendable {
    /// For an answer whose upstream named none.
    package var model: String
    package var requestID: String
    /// Seconds since 1970.
    package var created: Int
    /// Chat Completions: the client asked for the usage chunk.
    package var includeUsage: Bool
    /// `UpstreamRequest.toolNames`.
    package var toolNames: [String: String]
    /// Tools whose input is a text in the client's protocol.
    package var textTools: Set<String>

    /// - Parameter created: what the answer is dated with where the upstream gives no date; seconds since 1970.
    package init(_ request: ClientRequest, _ upstream: UpstreamRequest, requestID: String, created: Int) {
        model = request.conversation.model
        self.requestID = requestID
        self.created = created
        includeUsage = request.includeUsage
        toolNames = upstream.toolNames
        textTools = Set(request.conversation.tools.filter(\.takesText).map(\.name))
    }

    func clientName(_ tool: String) -> String { toolNames[tool] ?? tool }

    /// The text that a tool's object holds; an input of another form as it is.
    static func text(ofInput json: String) -> String {
        var json = json
        return json.withUTF8 { bytes -> String in
            guard var fields = try? JSONNode.document(UnsafeRawBufferPointer(bytes)).fields(),
                let text = try? fields.string("input")
            else { return String(decoding: bytes, as: UTF8.self) }
            return text
        }
    }
}

extension Array<UInt8> {
    /// - Parameter name: nil for protocols whose events have none.
    mutating func appendEvent(_ name: String?, _ json: JSONWriter) {
        if let name {
            append(contentsOf: "event: ".utf8)
            append(contentsOf: name.utf8)
            append(0x0A)
        }
        append(contentsOf: "data: ".utf8)
        append(contentsOf: json.bytes)
        append(0x0A)
        append(0x0A)
    }
}

/// What a model is told of a tool's result: its texts. Pictures and sounds are named, not shown.
package struct MCPResultText: Sendable, Equatable {
    package static let longest = 256 << 10

    package var text: String
    package var isError: Bool

    /// - Parameter result: of `tools/call`, as JSON.
    package init(_ result: String) {
        let fields = JSONObjectText(result) ?? JSONObjectText()
        isError = fields["isError"] == "true"
        let parts = (fields["content"].flatMap(JSONText.elements) ?? []).compactMap { JSONObjectText($0) }.map(Self.text)
        text = parts.joined(separator: "\n")
        if parts.isEmpty, let structured = fields["structuredContent"], structured != "null" { text = structured }
        cut()
    }

    /// Why there is no result.
    package init(failure: String) {
        text = failure
        isError = true
        cut()
    }

    private mutating func cut() {
        let bytes = text.utf8.count
        guard bytes > Self.longest else { return }
        let head = String(decoding: text.utf8.prefix(Self.longest), as: UTF8.self)
        text = head + "\n[The result has \(bytes) bytes; the rest is left out.]"
    }

    private static func text(_ part: JSONObjectText) -> String {
        switch part.string("type") {
        case "text": return part.string("text") ?? ""
        case "resource":
            let resource = part.object("resource")
            return resource?.string("text")
                ?? "[\(resource?.string("mimeType") ?? "data") of \(resource?.string("uri") ?? "a resource")]"
        case "resource_link": return "[\(part.string("name") ?? "A resource"): \(part.string("uri") ?? "")]"
        case let type: return "[\(type ?? "something") of the type \(part.string("mimeType") ?? "unknown"), which is not shown]"
        }
    }
}

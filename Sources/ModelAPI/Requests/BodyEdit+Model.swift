import NIOCore

extension BodyEdit {
    /// Names another model than the client did. Nil when it is the same, or is not named in the body.
    package static func model(_ model: String, _ summary: RequestSummary) -> BodyEdit? {
        guard model != summary.model, let value = summary.modelValue else { return nil }
        var text = "\""
        for character in model.unicodeScalars {
            if character == "\"" || character == "\\" { text.append("\\") }
            text.unicodeScalars.append(character)
        }
        return BodyEdit(name: "model", range: value, replacement: text + "\"")
    }
}

import Core

/// A tool that is offered to the model.
package struct ToolSchema: Sendable, Hashable {
    package let name: String
    package let description: String
    /// JSON Schema of the input, an object, without white space between its tokens; its keys keep their order.
    package let inputSchema: String
    /// The client asked that inputs follow the schema, or need not; nil when it did not say.
    package var strict: Bool?
    /// The client takes a text instead of an object (Responses `custom`): the schema then is `textSchema`.
    package var takesText = false

    /// - Throws: `internal` naming the tool whose schema is no JSON object: schemas are Slipway's own files.
    package init(name: String, description: String, inputSchema: String) throws(AppError) {
        guard JSONCursor.isObject(inputSchema) else {
            throw AppError(.internal, "The input schema of the tool '\(name)' is not a JSON object.", field: "tools.\(name)")
        }
        self.init(name: name, description: description, checked: inputSchema)
    }

    /// - Parameter checked: was found to be an object.
    init(name: String, description: String, checked schema: String, strict: Bool? = nil, takesText: Bool = false) {
        self.name = name
        self.description = description
        inputSchema = Self.compact(schema)
        self.strict = strict
        self.takesText = takesText
    }

    /// How a tool that takes a text is offered to models that give objects.
    static let textSchema = #"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}"#

    func renamed(_ name: String) -> ToolSchema {
        ToolSchema(name: name, description: description, checked: inputSchema, strict: strict, takesText: takesText)
    }

    static func compact(_ json: String) -> String {
        var bytes: [UInt8] = []
        var isInString = false
        var isEscaped = false
        for byte in json.utf8 {
            if isInString {
                bytes.append(byte)
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                }
            } else if byte > 0x20 {
                isInString = byte == UInt8(ascii: "\"")
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

import NIOCore

/// The id of a JSON-RPC request, as the JSON that its sender wrote: a string or a number. It goes back as it came.
package struct MCPID: Hashable, Sendable {
    package let json: String

    package init(_ number: Int) { json = "\(number)" }

    /// Nil for what JSON-RPC does not take as an id.
    package init?(json: String) {
        guard let first = json.utf8.first, json.utf8.count <= 256 else { return nil }
        guard first == UInt8(ascii: "\"") || first == UInt8(ascii: "-") || (first >= 48 && first <= 57) else { return nil }
        self.json = json
    }
}

/// An error as JSON-RPC 2.0 has it.
package struct MCPError: Error, Sendable, Equatable {
    package var code: Int
    package var message: String
    /// JSON.
    package var data: String?

    package init(_ code: Int, _ message: String, data: String? = nil) {
        self.code = code
        self.message = message
        self.data = data
    }

    // JSON-RPC 2.0 §5.1
    package static let parseError = -32700
    package static let invalidRequest = -32600
    package static let methodNotFound = -32601
    package static let invalidParams = -32602
    package static let internalError = -32603
    /// Ours, from the range that JSON-RPC leaves to servers: a rule refused the call.
    package static let denied = -32003
}

/// One JSON-RPC 2.0 message of the Model Context Protocol. What it carries is kept as the text that came.
package enum MCPMessage: Sendable, Equatable {
    case request(id: MCPID, method: String, params: String?)
    case notification(method: String, params: String?)
    case result(id: MCPID, result: String)
    /// Without an id when the other side could not read ours.
    case failure(id: MCPID?, MCPError)

    package static func parse(_ bytes: ByteBuffer) throws(MCPError) -> MCPMessage { try parse(String(buffer: bytes)) }

    /// - Throws: `parseError` for what is no JSON, `invalidRequest` for what is no single message.
    package static func parse(_ text: String) throws(MCPError) -> MCPMessage {
        guard let fields = JSONObjectText(text) else {
            if JSONText.elements(text) != nil {
                throw MCPError(MCPError.invalidRequest, "Batches are not taken: send one message in each request.")
            }
            throw MCPError(
                MCPError.parseError, "This is no JSON object, is nested too deeply, or names a field twice.")
        }
        guard fields.string("jsonrpc") == "2.0" else {
            throw MCPError(MCPError.invalidRequest, "jsonrpc must be \"2.0\".")
        }
        let id = fields["id"].flatMap { MCPID(json: $0) }
        if let method = fields.string("method") {
            let params = fields["params"]
            if let params, !JSONText.isObject(params) {
                throw MCPError(MCPError.invalidRequest, "params must be an object.")
            }
            if fields["id"] == nil { return .notification(method: method, params: params) }
            guard let id else { throw MCPError(MCPError.invalidRequest, "id must be a string or a number, of at most 256 bytes.") }
            return .request(id: id, method: method, params: params)
        }
        if let result = fields["result"], fields["error"] == nil {
            guard let id else { throw MCPError(MCPError.invalidRequest, "An answer needs the id of its request.") }
            return .result(id: id, result: result)
        }
        if let error = fields.object("error") {
            let code = error["code"].flatMap { Int($0) } ?? MCPError.internalError
            return .failure(id: id, MCPError(code, error.string("message") ?? "", data: error["data"]))
        }
        throw MCPError(MCPError.invalidRequest, "This is no request, notification or answer.")
    }

    /// As JSON on one line.
    package var text: String {
        let writer = JSONWriter.object { writer in
            writer.field("jsonrpc", "2.0")
            switch self {
            case .request(let id, let method, let params):
                writer.field("id", raw: id.json)
                writer.field("method", method)
                if let params { writer.field("params", raw: params) }
            case .notification(let method, let params):
                writer.field("method", method)
                if let params { writer.field("params", raw: params) }
            case .result(let id, let result):
                writer.field("id", raw: id.json)
                writer.field("result", raw: result)
            case .failure(let id, let error):
                writer.field("id", raw: id?.json ?? "null")
                writer.fieldObject("error") { writer in
                    writer.field("code", error.code)
                    writer.field("message", error.message)
                    if let data = error.data { writer.field("data", raw: data) }
                }
            }
        }
        return JSONText.line(writer.text)
    }
}

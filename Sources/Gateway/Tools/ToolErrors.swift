import Core
import ModelAPI
import Postgres

extension MCPError {
    /// What a client is told, in JSON-RPC's shape; what is no `AppError` says nothing about the inside.
    package init(anything error: any Error) {
        switch error {
        case let error as MCPError: self = error
        case let error as AppError:
            let code =
                switch error.code {
                case .badRequest: Self.invalidParams
                case .policyDenied: Self.denied
                default: Self.internalError
                }
            var data = "{\"code\":\(JSONText.quoted(error.code.rawValue))"
            if case .after(let time) = error.retry { data += ",\"retry_after\":\(time.components.seconds)" }
            self.init(code, error.message, data: data + "}")
        case let error as PostgresError where error.isConnectionLost:
            self.init(
                Self.internalError, "The database cannot be reached at this moment; try again.", data: "{\"code\":\"unavailable\"}")
        default: self.init(Self.internalError, "Something went wrong on the server.", data: "{\"code\":\"internal\"}")
        }
    }
}

extension AppError {
    /// What went wrong at a server of tools, for callers that speak no JSON-RPC.
    init(toolServer error: any Error) {
        switch error {
        case let error as AppError: self = error
        case let error as MCPError:
            self.init(.upstream, "The MCP server says: \(error.message.prefix(500)) (code \(error.code))", source: .upstream)
        default: self.init(.internal, "The MCP server could not be asked.", cause: error)
        }
    }
}

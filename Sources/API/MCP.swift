import Foundation

/// A server of tools that speaks the Model Context Protocol. Headers are never returned.
public struct MCPServer: Codable, Sendable, Equatable {
    /// Its tools are offered as `<name>__<tool>`.
    public var name: String
    public var displayName: String
    /// Nil for who may not change servers or oversee them: an address can be a secret.
    public var url: String?
    public var enabled: Bool
    /// Loopback and private addresses are refused without it.
    public var allowPrivate: Bool
    /// `none`: the server's headers are all it needs; `user`: each user signs in with headers of their own; `oauth`: each user
    /// authorizes Slipway.
    public var auth: String
    /// Patterns with `*`; empty: all tools.
    public var allowTools: [String]
    public var denyTools: [String]
    public var timeoutSeconds: Int
    public var headerNames: [String]
    /// Whether who asks has signed in there.
    public var signedIn: Bool
    /// Whether its tools are put into model calls: `never`, `asked` (by the header `x-slipway-tools`), `always`.
    public var inject: String
    /// Of a server that is a program: it and its arguments, for who may see addresses. Its environment's names are `header_names`.
    public var command: [String]?

    public init(
        name: String, displayName: String, url: String?, enabled: Bool, allowPrivate: Bool, auth: String, allowTools: [String],
        denyTools: [String], timeoutSeconds: Int, headerNames: [String], signedIn: Bool, inject: String,
        command: [String]? = nil
    ) {
        self.name = name
        self.displayName = displayName
        self.url = url
        self.enabled = enabled
        self.allowPrivate = allowPrivate
        self.auth = auth
        self.allowTools = allowTools
        self.denyTools = denyTools
        self.timeoutSeconds = timeoutSeconds
        self.headerNames = headerNames
        self.signedIn = signedIn
        self.inject = inject
        self.command = command
    }
}

public struct MCPServerList: Codable, Sendable, Equatable {
    public var servers: [MCPServer]

    public init(servers: [MCPServer]) { self.servers = servers }
}

public struct MCPHeader: Codable, Sendable, Equatable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

/// `POST /api/v2/ai/mcp/servers` (name and url are needed) and `PATCH …/{server}` (what is absent stays, name is ignored).
public struct MCPServerRequest: Codable, Sendable, Equatable {
    public var name: String?
    public var displayName: String?
    public var url: String?
    public var enabled: Bool?
    public var allowPrivate: Bool?
    /// Default: `none`.
    public var auth: String?
    public var allowTools: [String]?
    public var denyTools: [String]?
    /// 1…600; default: 60.
    public var timeoutSeconds: Int?
    /// As which client Slipway is known at the authorization server; without it Slipway registers itself.
    public var oauthClientID: String?
    /// All of them, at most 16.
    public var headers: [MCPHeader]?
    /// Default: `never`.
    public var inject: String?
    /// In place of `url`: a program and its arguments, run in a sandbox on the server's host.
    public var command: [String]?
    /// Of a program: all values, at most 32.
    public var environment: [MCPHeader]?

    public init() {}
}

/// `PUT /api/v2/ai/mcp/servers/{server}/login`: headers, or the code that the page shows which the browser came back to.
public struct MCPLoginRequest: Codable, Sendable, Equatable {
    public var headers: [MCPHeader]?
    public var code: String?

    public init(headers: [MCPHeader]? = nil, code: String? = nil) {
        self.headers = headers
        self.code = code
    }
}

/// `POST /api/v2/ai/mcp/servers/{server}/login`: where the browser has to go.
public struct MCPAuthorization: Codable, Sendable, Equatable {
    public var authorizeURL: String

    public init(authorizeURL: String) { self.authorizeURL = authorizeURL }
}

/// A tool as its server offers it, and whether it may be called.
public struct MCPServerTool: Codable, Sendable, Equatable {
    public var name: String
    /// Its name at our endpoint.
    public var offeredAs: String
    public var description: String?
    public var allowed: Bool
    public var rule: String

    public init(name: String, offeredAs: String, description: String?, allowed: Bool, rule: String) {
        self.name = name
        self.offeredAs = offeredAs
        self.description = description
        self.allowed = allowed
        self.rule = rule
    }
}

public struct MCPServerToolList: Codable, Sendable, Equatable {
    public var tools: [MCPServerTool]

    public init(tools: [MCPServerTool]) { self.tools = tools }
}

/// A call of a tool, as it is on record.
public struct MCPCall: Codable, Sendable, Equatable {
    public var id: String
    public var initiatorID: String
    public var initiator: String?
    public var taskID: String?
    /// The model call whose answer asked for it, where the client says so.
    public var interceptionID: String?
    public var client: String
    public var server: String
    public var tool: String
    public var toolUseID: String?
    /// `allow`, `deny` or `approval`.
    public var decision: String
    public var rule: String
    /// `ok`, `tool_error`, `error`, `timeout`, `cancelled`, `refused`; `open` while it runs, `unknown` when its server died.
    public var status: String
    /// JSON; only of a single call.
    public var arguments: String?
    public var result: String?
    public var error: String?
    public var durationMicroseconds: Int?
    public var startedAt: Date
    public var endedAt: Date?
    /// What rules about content found in its arguments and its result, and decided about the tool; nil when there is nothing.
    public var findings: [ContentFinding]?

    public init(
        id: String, initiatorID: String, initiator: String?, taskID: String?, interceptionID: String?, client: String,
        server: String, tool: String, toolUseID: String?, decision: String, rule: String, status: String, arguments: String?,
        result: String?, error: String?, durationMicroseconds: Int?, startedAt: Date, endedAt: Date?,
        findings: [ContentFinding]? = nil
    ) {
        self.id = id
        self.initiatorID = initiatorID
        self.initiator = initiator
        self.taskID = taskID
        self.interceptionID = interceptionID
        self.client = client
        self.server = server
        self.tool = tool
        self.toolUseID = toolUseID
        self.decision = decision
        self.rule = rule
        self.status = status
        self.arguments = arguments
        self.result = result
        self.error = error
        self.durationMicroseconds = durationMicroseconds
        self.startedAt = startedAt
        self.endedAt = endedAt
        self.findings = findings
    }
}

public struct MCPCallList: Codable, Sendable, Equatable {
    public var calls: [MCPCall]
    public var after: String?

    public init(calls: [MCPCall], after: String?) {
        self.calls = calls
        self.after = after
    }
}

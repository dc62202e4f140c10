import Core
import ModelAPI
import Telemetry

/// Attributes by OpenTelemetry's conventions for generative AI (semantic-conventions-genai, of 1.41), and Slipway's own beside them.
extension Span {
    /// What is known of the call before it is sent.
    mutating func describe(
        _ call: GatewayCall, _ interception: NewInterception, _ summary: RequestSummary, _ api: ModelProtocol, namesUsers: Bool
    ) {
        let operation = summary.embeddings == nil ? api.operationName : "embeddings"
        rename("\(operation) \(summary.model)")
        set("gen_ai.operation.name", operation)
        set("gen_ai.request.model", summary.model)
        set("gen_ai.conversation.id", interception.clientSession)
        set("gen_ai.request.stream", summary.stream)
        set("gen_ai.request.max_tokens", summary.maxOutputTokens)
        set("slipway.interception.id", call.id.description)
        set("slipway.request.id", call.requestID)
        set("slipway.client", interception.client)
        set("slipway.protocol", interception.modelProtocol)
        set("slipway.task.id", interception.task?.description)
        set("slipway.task.step", interception.taskStep)
        if namesUsers { set("user.name", call.principal.username) }
    }

    /// Where it goes.
    mutating func set(_ target: Target) {
        set("gen_ai.provider.name", target.provider.type.conventionalName)
        // The name before 1.37, which most dashboards still look for.
        set("gen_ai.system", target.provider.type.conventionalName)
        set("slipway.provider", target.provider.name)
        let (host, port) = target.provider.server
        set("server.address", host)
        set("server.port", port)
    }

    /// The conventions' input has what was read from and written to caches in it.
    mutating func set(_ usage: Usage) {
        set("gen_ai.usage.input_tokens", usage.allInput)
        set("gen_ai.usage.output_tokens", usage.output)
        let written = usage.cacheWrite5m + usage.cacheWrite1h
        if usage.cacheRead > 0 { set("gen_ai.usage.cache_read.input_tokens", usage.cacheRead) }
        if written > 0 { set("gen_ai.usage.cache_creation.input_tokens", written) }
        if usage.reasoning > 0 { set("gen_ai.usage.reasoning.output_tokens", usage.reasoning) }
    }
}

extension Usage {
    var allInput: TokenCount { input + cacheRead + cacheWrite5m + cacheWrite1h }
}

extension ModelProtocol {
    /// `gen_ai.operation.name`.
    var operationName: String { self == .gemini ? "generate_content" : "chat" }
}

extension ProviderType {
    /// `gen_ai.provider.name`.
    var conventionalName: String {
        switch self {
        case .anthropic: "anthropic"
        case .openai: "openai"
        case .azure: "azure.ai.openai"
        case .gemini: "gcp.gemini"
        case .bedrock: "aws.bedrock"
        }
    }
}

extension Provider {
    /// Of the base URL.
    var server: (host: String, port: Int) {
        let rest = baseURL.drop { $0 != ":" }.dropFirst(3)
        let authority = rest.prefix { $0 != "/" }
        let usual = baseURL.hasPrefix("http:") ? 80 : 443
        guard let colon = authority.lastIndex(of: ":"), let port = Int(authority[authority.index(after: colon)...]) else {
            return (String(authority), usual)
        }
        return (String(authority[..<colon]), port)
    }
}

extension Settlement.Ending {
    /// `error.type`; nil: the call was completed.
    var errorType: String? {
        if status == .completed { return nil }
        if status == .failed { return httpStatus.map { $0 >= 300 ? "\($0)" : "upstream" } ?? "upstream" }
        return status.rawValue
    }
}

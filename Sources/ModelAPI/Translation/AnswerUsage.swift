import Core

/// Usage in each protocol's own counting: what it includes in what is said in `Usage` and in gateways' price tables.
extension JSONWriter {
    /// Input without what was cached.
    mutating func messagesUsage(_ usage: Usage) {
        field("input_tokens", usage.input)
        field("cache_creation_input_tokens", usage.cacheWrite5m + usage.cacheWrite1h)
        field("cache_read_input_tokens", usage.cacheRead)
        if usage.cacheWrite5m + usage.cacheWrite1h > 0, !usage.ttlUnknown {
            fieldObject("cache_creation") {
                $0.field("ephemeral_5m_input_tokens", usage.cacheWrite5m)
                $0.field("ephemeral_1h_input_tokens", usage.cacheWrite1h)
            }
        }
        field("output_tokens", usage.output)
        if usage.reasoning > 0 { fieldObject("output_tokens_details") { $0.field("thinking_tokens", usage.reasoning) } }
        if usage.webSearches > 0 { fieldObject("server_tool_use") { $0.field("web_search_requests", usage.webSearches) } }
    }

    /// Input with what was cached, output with reasoning.
    mutating func chatUsage(_ usage: Usage) {
        field("prompt_tokens", usage.totalInput)
        field("completion_tokens", usage.output)
        field("total_tokens", usage.total)
        fieldObject("prompt_tokens_details") { $0.openAIInput(usage) }
        fieldObject("completion_tokens_details") { $0.field("reasoning_tokens", usage.reasoning) }
    }

    mutating func responsesUsage(_ usage: Usage) {
        field("input_tokens", usage.totalInput)
        fieldObject("input_tokens_details") { $0.openAIInput(usage) }
        field("output_tokens", usage.output)
        fieldObject("output_tokens_details") { $0.field("reasoning_tokens", usage.reasoning) }
        field("total_tokens", usage.total)
    }

    private mutating func openAIInput(_ usage: Usage) {
        field("cached_tokens", usage.cacheRead)
        let written = usage.cacheWrite5m + usage.cacheWrite1h
        if written > 0 { field("cache_write_tokens", written) }
    }
}

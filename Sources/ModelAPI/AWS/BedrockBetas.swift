/// Which of Anthropic's beta flags Bedrock takes. One that it does not know fails the whole request with 400 "invalid beta flag", and
/// coding clients send several that only Anthropic's own endpoint knows.
///
/// The list is AWS's (Bedrock user guide, "Anthropic Claude Messages API", `anthropic_beta`), with what users found to pass beside it;
/// Opus 4.7 takes one of them only (anthropics/claude-code issues 49370 and 49648).
package enum BedrockBetas {
    private static let known: Set<String> = [
        "claude-code-20250219", "computer-use-2024-10-22", "computer-use-2025-01-24", "token-efficient-tools-2025-02-19",
        "interleaved-thinking-2025-05-14", "output-128k-2025-02-19", "dev-full-thinking-2025-05-14", "context-1m-2025-08-07",
        "context-management-2025-06-27", "effort-2025-11-24", "tool-search-tool-2025-10-19", "tool-examples-2025-10-29",
        "structured-outputs-2025-12-15",
    ]

    private static let newest: Set<String> = ["interleaved-thinking-2025-05-14"]

    /// - Parameters:
    ///   - flags: of the client's `anthropic-beta` headers.
    ///   - model: as Bedrock names it, e.g. `eu.anthropic.claude-opus-4-7`.
    package static func divide(_ flags: [String], model: String) -> (taken: [String], dropped: [String]) {
        let allowed = model.contains("claude-opus-4-7") ? newest : known
        return (flags.filter(allowed.contains), flags.filter { !allowed.contains($0) })
    }
}

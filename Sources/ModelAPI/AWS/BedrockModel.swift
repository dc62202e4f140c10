/// What the name of a model on Bedrock tells: a foundation model's id (`amazon.nova-pro-v1:0`), an inference profile's with a region
/// before it (`eu.anthropic.claude-…`), or the ARN of one of them.
package struct BedrockModel: Sendable, Equatable {
    /// Anthropic's own protocol (`InvokeModel`) is spoken to it. Also where the name does not tell, as of application inference profiles
    /// and of provisioned throughput: what is no Claude needs a name that says so.
    package let isClaude: Bool
    /// The name under which its tokens are counted: `CountTokens` knows foundation models alone, no inference profiles.
    package let foundation: String

    /// Regions that inference profiles may begin with.
    private static let regions: Set<Substring> = [
        "us", "us-gov", "ca", "sa", "eu", "uk", "apac", "ap", "jp", "au", "in", "me", "af", "il", "global",
    ]

    package init(_ name: String) {
        // `arn:aws:bedrock:eu-central-1::foundation-model/amazon.nova-pro-v1:0`
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        let isARN = name.hasPrefix("arn:") && parts.count > 1
        var id = isARN ? parts[parts.count - 1] : Substring(name)
        if let dot = id.firstIndex(of: "."), Self.regions.contains(id[..<dot]) { id = id[id.index(after: dot)...] }
        let isNamed = id.contains(".")
        foundation = isNamed ? String(id) : name
        let isImported = isARN && parts[0].hasSuffix(":imported-model")
        isClaude = isNamed ? id.hasPrefix("anthropic.") || id.contains(".anthropic.") : !isImported
    }

    package var format: UpstreamFormat { isClaude ? .bedrockMessages : .bedrockConverse }
}

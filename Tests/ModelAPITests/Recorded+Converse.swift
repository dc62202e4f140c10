extension Recorded {
    /// Bedrock's `ConverseStream`: reasoning, a text in pieces, two calls side by side; usage behind the end.
    static let converseStream: [(String, String)] = [
        ("messageStart", #"{"p":"abcd","role":"assistant"}"#),
        ("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"Let me "}}}"#),
        ("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"look."}}}"#),
        ("contentBlockDelta", #"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"EqQC=="}}}"#),
        ("contentBlockStop", #"{"contentBlockIndex":0}"#),
        ("contentBlockDelta", #"{"contentBlockIndex":1,"delta":{"text":"Hi \ud83d\ude00"},"p":"ab"}"#),
        ("contentBlockDelta", #"{"contentBlockIndex":1,"delta":{"text":" über"}}"#),
        ("contentBlockStop", #"{"contentBlockIndex":1}"#),
        ("contentBlockStart", #"{"contentBlockIndex":2,"start":{"toolUse":{"name":"read_file","toolUseId":"tooluse_a"}}}"#),
        ("contentBlockDelta", #"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{\"path\":"}}}"#),
        ("contentBlockStart", #"{"contentBlockIndex":3,"start":{"toolUse":{"name":"list","toolUseId":"tooluse_b"}}}"#),
        ("contentBlockDelta", #"{"contentBlockIndex":2,"delta":{"toolUse":{"input":"\"a\"}"}}}"#),
        ("contentBlockStop", #"{"contentBlockIndex":2}"#), ("contentBlockStop", #"{"contentBlockIndex":3}"#),
        ("messageStop", #"{"stopReason":"tool_use"}"#), ("somethingNew", #"{"a":1}"#),
        (
            "metadata",
            #"{"metrics":{"latencyMs":900},"usage":{"inputTokens":20,"outputTokens":30,"totalTokens":56,"cacheReadInputTokens":6,"cacheWriteInputTokens":0}}"#
        ),
    ]

    static let conversePlain =
        #"{"metrics":{"latencyMs":900},"output":{"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"Let me look.","signature":"EqQC=="}}},"#
        + #"{"text":"Hi 😀 über"},{"toolUse":{"toolUseId":"tooluse_a","name":"read_file","input":{"path":"a"}}},"#
        + #"{"toolUse":{"toolUseId":"tooluse_b","name":"list","input":{}}}]}},"stopReason":"tool_use","#
        + #""usage":{"inputTokens":20,"outputTokens":30,"totalTokens":56,"cacheReadInputTokens":6,"cacheWriteInputTokens":0}}"#
}

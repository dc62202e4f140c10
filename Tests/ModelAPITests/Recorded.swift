import NIOCore

/// Streams and answers in the form in which the providers send them.
enum Recorded {
    /// Thinking with a signature, a text with every kind of character, two tool calls, a ping, an unknown event.
    static let messagesStream = """
        event: message_start
        data: {"type":"message_start","message":{"id":"msg_01XFD","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":2095,"cache_creation_input_tokens":2051,"cache_read_input_tokens":18000,"cache_creation":{"ephemeral_5m_input_tokens":1051,"ephemeral_1h_input_tokens":1000},"output_tokens":1,"service_tier":"standard"}}}

        event: ping
        data: {"type": "ping"}

        event: content_block_start
        data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me look\\nat \\"it\\""}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":" — first 😀."}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds=="}}

        event: content_block_stop
        data: {"type":"content_block_stop","index":0}

        event: some_future_event
        data: {"type":"some_future_event","index":0,"delta":{"type":"text_delta","text":"not for you"}}

        event: content_block_start
        data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Okay, \\u00fcber\\ud83d\\ude00 C:\\\\dir\\t"}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"日本語"}}

        event: content_block_stop
        data: {"type":"content_block_stop","index":1}

        event: content_block_start
        data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_01T1x","name":"read_file","input":{}}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\\"path\\": \\"a"}}

        event: content_block_start
        data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_02","name":"list_files","input":{}}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"/b.swift\\"}"}}

        event: content_block_stop
        data: {"type":"content_block_stop","index":3}

        event: content_block_stop
        data: {"type":"content_block_stop","index":2}

        event: message_delta
        data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":2095,"cache_creation_input_tokens":2051,"cache_read_input_tokens":18000,"output_tokens":503,"server_tool_use":{"web_search_requests":2}}}

        event: message_stop
        data: {"type":"message_stop"}


        """

    /// What Claude answers when the same is not streamed.
    static let messagesPlain = """
        {"id":"msg_01XFD","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929",
        "content":[{"type":"thinking","thinking":"Let me look\\nat \\"it\\" — first 😀.","signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds=="},
        {"type":"text","text":"Okay, \\u00fcber\\ud83d\\ude00 C:\\\\dir\\t日本語","citations":null},
        {"type":"tool_use","id":"toolu_01T1x","name":"read_file","input":{"path": "a/b.swift"}},
        {"type":"tool_use","id":"toolu_02","name":"list_files","input":{}}],
        "stop_reason":"tool_use","stop_sequence":null,
        "usage":{"input_tokens":2095,"cache_creation_input_tokens":2051,"cache_read_input_tokens":18000,"cache_creation":{"ephemeral_5m_input_tokens":1051,"ephemeral_1h_input_tokens":1000},"output_tokens":503,"server_tool_use":{"web_search_requests":2}}}
        """

    static let chatStream = """
        data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1723056123,"model":"gpt-5-mini","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x1"}

        data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1723056123,"model":"gpt-5-mini","choices":[{"index":0,"delta":{"reasoning_content":"hmm"},"finish_reason":null}],"usage":null}

        : keep-alive

        data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1723056123,"model":"gpt-5-mini","choices":[{"index":0,"delta":{"content":"Okay, \\ud83d"},"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1723056123,"model":"gpt-5-mini","choices":[{"index":0,"delta":{"content":"\\ude00 über"},"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1723056123,"model":"gpt-5-mini","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"read_file","arguments":""}}]},"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1723056123,"model":"gpt-5-mini","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"path\\":"}}]},"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1723056123,"model":"gpt-5-mini","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"list_files","arguments":"{}"}},{"index":0,"function":{"arguments":"\\"x\\"}"}}]},"finish_reason":null}],"usage":null}

        data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1723056123,"model":"gpt-5-mini","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":null}

        data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1723056123,"model":"gpt-5-mini","choices":[],"usage":{"prompt_tokens":1117,"completion_tokens":46,"total_tokens":1163,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":32}}}

        data: [DONE]


        """

    static let chatPlain = """
        {"id":"chatcmpl-9","object":"chat.completion","created":1723056123,"model":"gpt-5-mini","choices":[{"index":0,
        "message":{"role":"assistant","content":"Okay, 😀 über","reasoning_content":"hmm","refusal":null,"annotations":[],
        "tool_calls":[{"id":"call_a","type":"function","function":{"name":"read_file","arguments":"{\\"path\\":\\"x\\"}"}},
        {"id":"call_b","type":"function","function":{"name":"list_files","arguments":"{}"}}]},"finish_reason":"tool_calls"}],
        "usage":{"prompt_tokens":1117,"completion_tokens":46,"total_tokens":1163,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":32}}}
        """
}

/// A generator whose sequence is the seed's alone, so that a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed &+ 0x9E37_79B9_7F4A_7C15 }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

extension Array<UInt8> {
    /// The same bytes in chunks, cut at random places; now and then an empty one.
    func chunks(_ generator: inout SeededGenerator, longest: Int) -> [ByteBuffer] {
        var chunks: [ByteBuffer] = []
        var position = 0
        while position < count {
            let length = Swift.min(count - position, Int.random(in: 0...longest, using: &generator))
            chunks.append(ByteBuffer(bytes: self[position..<position + length]))
            position += length
        }
        return chunks
    }
}

import NIOCore

@testable import ModelAPI

/// The same conversation as each kind of client writes it: a system prompt, a picture, thinking, two calls at once, a failed
/// result and one with a picture, a further word.
enum TranslatedRequests {
    static let clients: [ModelProtocol] = [.messages, .chatCompletions, .responses]

    static let pixel = "iVBORw0KGgo="

    static func body(_ api: ModelProtocol) -> ByteBuffer {
        switch api {
        case .messages: ByteBuffer(string: messages)
        case .chatCompletions: ByteBuffer(string: chat)
        case .responses: ByteBuffer(string: responses)
        case .gemini: ByteBuffer()
        }
    }

    static let messages = """
        {"model":"claude-sonnet-4-5","max_tokens":9000,"stream":true,"temperature":0.20,"metadata":{"user_id":"who"},
        "system":[{"type":"text","text":"Be brief."},{"type":"text","text":"Be \\"kind\\".","cache_control":{"type":"ephemeral"}}],
        "tools":[{"name":"read_file","description":"Reads.","input_schema":{"type":"object","properties":{"path":{"type":"string"}}}},
        {"name":"list","input_schema":{"type":"object"}},{"type":"web_search_20250305","name":"web_search"}],
        "tool_choice":{"type":"any","disable_parallel_tool_use":false},"stop_sequences":["END"],
        "messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},
        {"type":"image","source":{"type":"base64","media_type":"image/png","data":"\(pixel)"}}]},
        {"role":"assistant","content":[{"type":"thinking","thinking":"Look.","signature":"EqQB=="},{"type":"text","text":"Let me see 😀"},
        {"type":"tool_use","id":"c1","name":"read_file","input":{"path": "a/b"}},{"type":"tool_use","id":"c2","name":"list","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"no such file","is_error":true},
        {"type":"tool_result","tool_use_id":"c2","content":[{"type":"text","text":"seen"},
        {"type":"image","source":{"type":"base64","media_type":"image/png","data":"\(pixel)"}}]},
        {"type":"text","text":"Go on."}]}]}
        """

    static let chat = """
        {"model":"gpt-4.1","max_tokens":9000,"stream":true,"stream_options":{"include_usage":true},"temperature":0.20,"user":"who",
        "tools":[{"type":"function","function":{"name":"read_file","description":"Reads.","parameters":{"type":"object","properties":{"path":{"type":"string"}}}}},
        {"type":"function","function":{"name":"list","parameters":{"type":"object"}}}],"tool_choice":"required","stop":"END","logprobs":true,"n":1,
        "messages":[{"role":"system","content":"Be brief."},{"role":"developer","content":[{"type":"text","text":"Be \\"kind\\"."}]},
        {"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,\(pixel)"}}]},
        {"role":"assistant","content":"Let me see 😀","tool_calls":[{"id":"c1","type":"function","function":{"name":"read_file","arguments":"{\\"path\\": \\"a/b\\"}"}},
        {"id":"c2","type":"function","function":{"name":"list","arguments":""}}]},
        {"role":"tool","tool_call_id":"c1","content":"no such file"},
        {"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"seen"},{"type":"image_url","image_url":{"url":"data:image/png;base64,\(pixel)"}}]},
        {"role":"user","content":"Go on."}]}
        """

    static let responses = """
        {"model":"gpt-4.1","max_output_tokens":9000,"stream":true,"store":false,"temperature":0.20,"safety_identifier":"who","instructions":"Be brief.",
        "tools":[{"type":"function","name":"read_file","description":"Reads.","strict":false,"parameters":{"type":"object","properties":{"path":{"type":"string"}}}},
        {"type":"function","name":"list","parameters":{"type":"object"}},{"type":"local_shell"}],"tool_choice":"required","top_logprobs":3,
        "include":["reasoning.encrypted_content"],
        "input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"Be \\"kind\\"."}]},
        {"role":"user","content":[{"type":"input_text","text":"What is this?"},{"type":"input_image","image_url":"data:image/png;base64,\(pixel)"}]},
        {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Look."}],"encrypted_content":"gAAAA=="},
        {"type":"message","role":"assistant","id":"m","status":"completed","content":[{"type":"output_text","text":"Let me see 😀","annotations":[]}]},
        {"type":"function_call","id":"fc_1","call_id":"c1","name":"read_file","arguments":"{\\"path\\": \\"a/b\\"}"},
        {"type":"function_call","id":"fc_2","call_id":"c2","name":"list","arguments":"{}"},
        {"type":"function_call_output","call_id":"c1","output":"no such file"},
        {"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"seen"},{"type":"input_image","image_url":"data:image/png;base64,\(pixel)"}]},
        {"role":"user","content":"Go on."}]}
        """
}

/// What a conversation says, line by line, whichever protocol it went through.
struct Essence: Equatable, CustomStringConvertible {
    var lines: [String] = []
    var description: String { lines.joined(separator: "\n") }

    init(_ conversation: Conversation) {
        lines.append("system \(conversation.system)")
        for tool in conversation.tools { lines.append("tool \(tool.name) \(tool.description) \(tool.inputSchema)") }
        lines.append("choice \(conversation.toolChoice), at most \(conversation.maxOutputTokens ?? -1)")
        for message in conversation.messages {
            var results: [String] = []
            var rest: [String] = []
            for block in message.content {
                switch block {
                case .text(let text), .answer(.text(let text)): rest.append("\(message.role): \(text)")
                case .media(let media): rest.append("\(message.role): \(media.kind) \(media.url ?? "")")
                case .toolResult(let id, let text, _): results.append("result \(id) \(text)")
                case .toolOutput(let id, let parts, _):
                    var texts: [String] = []
                    var pictures: [String] = []
                    for part in parts {
                        if case .text(let text) = part { texts.append(text) }
                        if case .media(let media) = part { pictures.append("user: \(media.kind) \(media.url ?? "")") }
                    }
                    results.append("result \(id) \(texts.joined(separator: "\n\n"))")
                    rest.insert(contentsOf: pictures, at: 0)
                case .answer(.toolUse(let id, let name, let input, let isComplete)):
                    rest.append("call \(id) \(name) \(input) \(isComplete)")
                case .answer(.thinking), .answer(.redactedThinking), .answer(.other): break
                }
            }
            lines += results + rest
        }
    }
}

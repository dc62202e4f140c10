import Foundation
import NIOCore
import TestSupport

/// What upstreams answer.
enum Upstream {
    /// `input` and `output` tokens; cached ones as given.
    static func message(_ text: String = "Hello.", input: Int = 10, output: Int = 5, extra: String = "") -> String {
        """
        {"id":"msg_1","type":"message","role":"assistant","model":"\(Stage.model)","content":[{"type":"text","text":"\(text)"}],\
        "stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":\(input),"output_tokens":\(output)\(extra)}}
        """
    }

    static func completion(_ text: String = "Hello.", prompt: Int = 10, cached: Int = 0, completion: Int = 5) -> String {
        """
        {"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"\(Stage.model)","choices":[{"index":0,"message":\
        {"role":"assistant","content":"\(text)"},"finish_reason":"stop"}],"usage":{"prompt_tokens":\(prompt),"completion_tokens":\(completion),\
        "total_tokens":\(prompt + completion),"prompt_tokens_details":{"cached_tokens":\(cached)}}}
        """
    }

    /// With an unknown event, odd white space, a comment, and both kinds of line ends.
    static func messageStream(_ texts: [String] = ["Hel", "lo."], input: Int = 10, output: Int = 5) -> [String] {
        [
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"\(Stage.model)\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":\(input),\"output_tokens\":1}}}\n\n",
            ": a comment\n\nevent: some_future_event\r\ndata:   {\"type\" : \"some_future_event\" ,\"x\":[ ]}\r\n\r\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        ]
            + texts.map {
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\($0)\"}}\n\n"
            } + [
                "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":\(output)}}\n\n",
                "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            ]
    }

    static func chatStream(_ texts: [String] = ["Hel", "lo."], usage: Bool, prompt: Int = 10, completion: Int = 5) -> [String] {
        func chunk(_ rest: String) -> String {
            "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"\(Stage.model)\",\(rest)}\n\n"
        }
        var events = texts.map { chunk("\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\($0)\"},\"finish_reason\":null}]") }
        events.append(chunk("\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]"))
        if usage {
            events.append(
                chunk(
                    "\"choices\":[],\"usage\":{\"prompt_tokens\":\(prompt),\"completion_tokens\":\(completion),\"total_tokens\":\(prompt + completion)}"
                ))
        }
        return events + ["data: [DONE]\n\n"]
    }

    static func head(_ type: String = "application/json", status: String = "200 OK", length: Int? = nil, extra: String = "")
        -> String
    {
        let framing = length.map { "Content-Length: \($0)\r\n" } ?? "Transfer-Encoding: chunked\r\n"
        return "HTTP/1.1 \(status)\r\nContent-Type: \(type)\r\n\(framing)\(extra)\r\n"
    }

    static func chunk(_ text: String) -> String { "\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n" }
    static let lastChunk = "0\r\n\r\n"

    /// Answers each request as its body asks: streamed or not, in the protocol of its path.
    static func answer(_ text: String = "Hello.", input: Int = 10, output: Int = 5) -> RawServer.Script {
        { connection in
            while let request = try await connection.request() {
                let body = String(buffer: request.body)
                let isChat = request.path.contains("chat/completions")
                if body.contains("\"stream\": true") || body.contains("\"stream\":true") {
                    let events =
                        isChat
                        ? chatStream([text], usage: body.contains("\"include_usage\":true"), prompt: input, completion: output)
                        : messageStream([text], input: input, output: output)
                    try await connection.send(head("text/event-stream") + events.map(chunk).joined() + lastChunk)
                } else {
                    let answer =
                        isChat ? completion(text, prompt: input, completion: output) : message(text, input: input, output: output)
                    try await connection.send(head(length: answer.utf8.count) + answer)
                }
            }
        }
    }

    /// Answers each request with these bytes.
    static func bytes(_ head: String, _ body: String) -> RawServer.Script {
        { connection in
            while try await connection.request() != nil { try await connection.send(head + body) }
        }
    }
}

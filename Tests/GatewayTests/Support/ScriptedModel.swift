import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport

@testable import Gateway

/// A model that gives one prepared answer after the other, in the protocol of the path and streamed where the body asks for it.
final class ScriptedModel: Sendable {
    enum Part: Sendable {
        case text(String)
        /// Messages alone have one.
        case thinking(String, signature: String)
        case call(String, id: String, arguments: String)
    }

    private struct State {
        var answers: [[Part]]
        var bodies: [String] = []
        var heads: [String] = []
    }

    private let state: NIOLockedValueBox<State>
    /// Responses: the number of the answer that its limit of tokens cuts.
    private let cut: Int?

    /// The last answer is given again and again.
    init(_ answers: [[Part]], cut: Int? = nil) {
        state = NIOLockedValueBox(State(answers: answers))
        self.cut = cut
    }

    private func cutting(_ text: String, _ number: Int) -> String {
        if number != cut { return text }
        return text.replacingOccurrences(of: "response.completed", with: "response.incomplete").replacingOccurrences(
            of: #""status":"completed","model""#,
            with: #""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"model""#)
    }

    var bodies: [String] { state.withLockedValue { $0.bodies } }
    var heads: [String] { state.withLockedValue { $0.heads } }

    static let input = 100
    static let output = 7

    var script: RawServer.Script {
        { connection in
            while let request = try await connection.request() {
                let body = String(buffer: request.body)
                let (parts, number) = self.state.withLockedValue { state in
                    state.bodies.append(body)
                    state.heads.append(request.head)
                    let parts = state.answers[0]
                    if state.answers.count > 1 { state.answers.removeFirst() }
                    return (parts, state.bodies.count)
                }
                let isStream = body.contains("\"stream\": true") || body.contains("\"stream\":true")
                let api: ModelProtocol =
                    request.path.contains("chat/") ? .chatCompletions : request.path.contains("responses") ? .responses : .messages
                if isStream {
                    let events = Self.events(parts, number, api)
                    try await connection.send(Upstream.head("text/event-stream"))
                    for event in events { try await connection.send(Upstream.chunk(self.cutting(event, number))) }
                    try await connection.send(Upstream.lastChunk)
                } else {
                    let whole = self.cutting(Self.whole(parts, number, api), number)
                    try await connection.send(Upstream.head(length: whole.utf8.count) + whole)
                }
            }
        }
    }

    // MARK: Answers

    private static func quoted(_ text: String) -> String { JSONText.quoted(text) }

    private static func calls(_ parts: [Part]) -> Bool { parts.contains { if case .call = $0 { true } else { false } } }

    static func whole(_ parts: [Part], _ number: Int, _ api: ModelProtocol) -> String {
        switch api {
        case .messages, .gemini:
            let content = parts.map { part in
                switch part {
                case .text(let text): #"{"type":"text","text":\#(quoted(text))}"#
                case .thinking(let text, let signature):
                    #"{"type":"thinking","thinking":\#(quoted(text)),"signature":\#(quoted(signature))}"#
                case .call(let name, let id, let arguments):
                    #"{"type":"tool_use","id":"\#(id)","name":"\#(name)","input":\#(arguments)}"#
                }
            }
            return
                #"{"id":"msg_\#(number)","type":"message","role":"assistant","model":"\#(Stage.model)","content":[\#(content.joined(separator: ","))],"stop_reason":"\#(calls(parts) ? "tool_use" : "end_turn")","stop_sequence":null,"usage":{"input_tokens":\#(input),"output_tokens":\#(output),"service_tier":"standard"}}"#
        case .chatCompletions:
            var text = "null"
            var calls: [String] = []
            for part in parts {
                switch part {
                case .text(let said): text = quoted(said)
                case .thinking: break
                case .call(let name, let id, let arguments):
                    calls.append(
                        #"{"id":"\#(id)","type":"function","function":{"name":"\#(name)","arguments":\#(quoted(arguments))}}"#)
                }
            }
            let tools = calls.isEmpty ? "" : #","tool_calls":[\#(calls.joined(separator: ","))]"#
            return
                #"{"id":"chatcmpl-\#(number)","object":"chat.completion","created":\#(number),"model":"\#(Stage.model)","choices":[{"index":0,"message":{"role":"assistant","content":\#(text)\#(tools)},"finish_reason":"\#(calls.isEmpty ? "stop" : "tool_calls")"}],"usage":\#(chatUsage)}"#
        case .responses:
            return response(parts, number, done: true)
        }
    }

    private static let chatUsage = #"{"prompt_tokens":100,"completion_tokens":7,"total_tokens":107}"#

    private static func item(_ part: Part, _ index: Int, _ number: Int, begun: Bool = false) -> String {
        switch part {
        case .text where begun:
            #"{"id":"m\#(number)_\#(index)","type":"message","role":"assistant","status":"in_progress","content":[]}"#
        case .call(let name, let id, _) where begun:
            #"{"id":"fc\#(number)_\#(index)","type":"function_call","call_id":"\#(id)","name":"\#(name)","arguments":"","status":"in_progress"}"#
        case .text(let text):
            #"{"id":"m\#(number)_\#(index)","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":\#(quoted(text)),"annotations":[]}]}"#
        case .thinking(let text, let signature):
            #"{"id":"rs\#(number)_\#(index)","type":"reasoning","summary":[{"type":"summary_text","text":\#(quoted(text))}],"encrypted_content":\#(quoted(signature))}"#
        case .call(let name, let id, let arguments):
            #"{"id":"fc\#(number)_\#(index)","type":"function_call","call_id":"\#(id)","name":"\#(name)","arguments":\#(quoted(arguments)),"status":"completed"}"#
        }
    }

    private static func response(_ parts: [Part], _ number: Int, done: Bool) -> String {
        let output = done ? parts.enumerated().map { item($0.element, $0.offset, number) } : []
        let usage =
            done ? #"{"input_tokens":100,"input_tokens_details":{"cached_tokens":0},"output_tokens":7,"total_tokens":107}"# : "null"
        return
            #"{"id":"resp_\#(number)","object":"response","created_at":1,"status":"\#(done ? "completed" : "in_progress")","model":"\#(Stage.model)","tools":[{"type":"function","name":"secret_of_the_gateway"}],"output":[\#(output.joined(separator: ","))],"usage":\#(usage)}"#
    }

    static func events(_ parts: [Part], _ number: Int, _ api: ModelProtocol) -> [String] {
        switch api {
        case .messages, .gemini: messageEvents(parts, number)
        case .chatCompletions: chatEvents(parts, number)
        case .responses: responseEvents(parts, number)
        }
    }

    private static func messageEvents(_ parts: [Part], _ number: Int) -> [String] {
        var events: [String] = []
        func add(_ type: String, _ rest: String) { events.append("event: \(type)\ndata: {\"type\":\"\(type)\"\(rest)}\n\n") }
        add(
            "message_start",
            #","message":{"id":"msg_\#(number)","type":"message","role":"assistant","model":"\#(Stage.model)","content":[],"stop_reason":null,"usage":{"input_tokens":\#(input),"output_tokens":1}}"#
        )
        for (index, part) in parts.enumerated() {
            let delta: [String]
            switch part {
            case .text(let text):
                add("content_block_start", #","index":\#(index),"content_block":{"type":"text","text":""}"#)
                delta = [#"{"type":"text_delta","text":\#(quoted(text))}"#]
            case .thinking(let text, let signature):
                add("content_block_start", #","index":\#(index),"content_block":{"type":"thinking","thinking":"","signature":""}"#)
                delta = [
                    #"{"type":"thinking_delta","thinking":\#(quoted(text))}"#,
                    #"{"type":"signature_delta","signature":\#(quoted(signature))}"#,
                ]
            case .call(let name, let id, let arguments):
                add(
                    "content_block_start",
                    #","index":\#(index),"content_block":{"type":"tool_use","id":"\#(id)","name":"\#(name)","input":{}}"#)
                delta = [#"{"type":"input_json_delta","partial_json":\#(quoted(arguments))}"#]
            }
            for piece in delta { add("content_block_delta", #","index":\#(index),"delta":\#(piece)"#) }
            add("content_block_stop", #","index":\#(index)"#)
        }
        add(
            "message_delta",
            #","delta":{"stop_reason":"\#(calls(parts) ? "tool_use" : "end_turn")","stop_sequence":null},"usage":{"output_tokens":\#(output)}"#
        )
        add("message_stop", "")
        return events
    }

    private static func chatEvents(_ parts: [Part], _ number: Int) -> [String] {
        func chunk(_ choices: String, _ rest: String = "") -> String {
            "data: {\"id\":\"chatcmpl-\(number)\",\"object\":\"chat.completion.chunk\",\"created\":\(number),\"model\":\"\(Stage.model)\",\"choices\":\(choices)\(rest)}\n\n"
        }
        func delta(_ delta: String, _ finish: String = "null") -> String {
            chunk(#"[{"index":0,"delta":\#(delta),"finish_reason":\#(finish)}]"#)
        }
        var events = [delta(#"{"role":"assistant","content":""}"#)]
        var index = 0
        for part in parts {
            switch part {
            case .text(let text): events.append(delta(#"{"content":\#(quoted(text))}"#))
            case .thinking: break
            case .call(let name, let id, let arguments):
                events.append(
                    delta(
                        #"{"tool_calls":[{"index":\#(index),"id":"\#(id)","type":"function","function":{"name":"\#(name)","arguments":""}}]}"#
                    ))
                events.append(delta(#"{"tool_calls":[{"index":\#(index),"function":{"arguments":\#(quoted(arguments))}}]}"#))
                index += 1
            }
        }
        events.append(delta("{}", index > 0 ? #""tool_calls""# : #""stop""#))
        events.append(chunk("[]", #","usage":\#(chatUsage)"#))
        return events + ["data: [DONE]\n\n"]
    }

    private static func responseEvents(_ parts: [Part], _ number: Int) -> [String] {
        var events: [String] = []
        func add(_ type: String, _ rest: String) {
            events.append("event: \(type)\ndata: {\"type\":\"\(type)\",\"sequence_number\":\(events.count),\(rest)}\n\n")
        }
        add("response.created", #""response":\#(response(parts, number, done: false))"#)
        for (index, part) in parts.enumerated() {
            add("response.output_item.added", #""output_index":\#(index),"item":\#(item(part, index, number, begun: true))"#)
            switch part {
            case .text(let text):
                add(
                    "response.output_text.delta",
                    #""item_id":"m\#(number)_\#(index)","output_index":\#(index),"content_index":0,"delta":\#(quoted(text))"#)
            case .call(_, _, let arguments):
                add(
                    "response.function_call_arguments.delta",
                    #""item_id":"fc\#(number)_\#(index)","output_index":\#(index),"delta":\#(quoted(arguments))"#)
            case .thinking: break
            }
            add("response.output_item.done", #""output_index":\#(index),"item":\#(item(part, index, number))"#)
        }
        add("response.completed", #""response":\#(response(parts, number, done: true))"#)
        return events
    }
}

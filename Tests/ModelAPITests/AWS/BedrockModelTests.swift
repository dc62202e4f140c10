import Core
import Foundation
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct BedrockModelTests {
    @Test(arguments: [
        ("anthropic.claude-haiku-4-5-20251001-v1:0", true, "anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("eu.anthropic.claude-sonnet-4-5-v1:0", true, "anthropic.claude-sonnet-4-5-v1:0"),
        ("global.anthropic.claude-opus-4-7", true, "anthropic.claude-opus-4-7"),
        ("us-gov.anthropic.claude-3-haiku-v1:0", true, "anthropic.claude-3-haiku-v1:0"),
        ("amazon.nova-pro-v1:0", false, "amazon.nova-pro-v1:0"),
        ("us.meta.llama3-3-70b-instruct-v1:0", false, "meta.llama3-3-70b-instruct-v1:0"),
        ("zai.glm-4.7", false, "zai.glm-4.7"), ("eu.amazon.nova-micro-v1:0", false, "amazon.nova-micro-v1:0"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-v1:0", true, "anthropic.claude-3-haiku-v1:0"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-lite-v1:0", false, "amazon.nova-lite-v1:0"),
        // What does not tell is taken for Claude, under its own name.
        (
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2c3", true,
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2c3"
        ),
        ("arn:aws:bedrock:us-east-1:1:imported-model/a1b2c3", false, "arn:aws:bedrock:us-east-1:1:imported-model/a1b2c3"),
        ("claude-haiku-4-5", true, "claude-haiku-4-5"), ("", true, ""), (".", false, "."), ("arn:", true, "arn:"),
    ]) func `a name tells whose model it is, and under which one its tokens are counted`(
        _ name: String, _ isClaude: Bool, _ foundation: String
    ) {
        let model = BedrockModel(name)
        #expect(model.isClaude == isClaude && model.foundation == foundation, "\(model)")
        #expect(model.format == (isClaude ? .bedrockMessages : .bedrockConverse))
    }

    private static func object(_ body: ByteBuffer) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(body.readableBytesView)) as? [String: Any])
    }

    private static func input(_ body: ByteBuffer, _ member: String) throws -> [String: Any] {
        let input = try #require(try object(body)["input"] as? [String: Any])
        #expect(input.count == 1)
        return try #require(input[member] as? [String: Any])
    }

    @Test func `Claude's tokens are counted of the client's own bytes, with the limit that an invocation has to name`() throws {
        func invoked(_ body: String, _ betas: [String] = []) throws -> String {
            let counted = try TokenCounting.bedrockBody(ByteBuffer(string: body), betas: betas)
            let base64 = try #require(try Self.input(counted, "invokeModel")["body"] as? String)
            return String(decoding: try #require(Data(base64Encoded: base64)), as: UTF8.self)
        }
        #expect(
            try invoked(#"{"model":"m", "messages" : [ ],"new_field":1.50}"#, ["b"])
                == #"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["b"],"max_tokens":1024, "messages" : [ ],"new_field":1.50}"#
        )
        // What the client names stays; thinking needs room.
        #expect(try invoked(#"{"max_tokens":7,"messages":[]}"#).contains(#""max_tokens":7,"#))
        #expect(try invoked(#"{"thinking":{"budget_tokens":2000},"messages":[]}"#).contains(#""max_tokens":3024,"#))
        #expect(throws: AppError.self) { try invoked("[]") }
    }

    @Test func `other models' tokens are counted of what Converse would get, without how to answer`() throws {
        let request = try ClientRequest.read(
            ByteBuffer(
                string: """
                    {"model":"m","max_tokens":9,"temperature":0.5,"system":"s","messages":[{"role":"user","content":"hi"}],
                    "tools":[{"name":"f","input_schema":{"type":"object"}}]}
                    """), as: .messages)
        let body = try #require(try TokenCounting.body(request, for: .bedrockConverse, model: "amazon.nova-pro-v1:0"))
        #expect(Set(try Self.input(body, "converse").keys) == ["system", "messages", "toolConfig"])
    }

    @Test func `what was called before is defined, though it is no longer offered`() throws {
        let request = try ClientRequest.read(
            ByteBuffer(
                string: """
                    {"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[
                    {"type":"tool_use","id":"a","name":"f","input":{}},{"type":"tool_use","id":"b","name":"f","input":{}}]},
                    {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"1"},{"type":"tool_result","tool_use_id":"b"}]}]}
                    """), as: .messages)
        let object = try Self.object(try request.encode(for: .bedrockConverse, model: "amazon.nova-pro-v1:0").body)
        let tools = try #require((object["toolConfig"] as? [String: Any])?["tools"] as? [[String: [String: Any]]])
        #expect(tools.map { $0["toolSpec"]?["name"] as? String } == ["f"])
        let claude = String(buffer: try request.encode(for: .messages, model: "claude-haiku-4-5").body)
        #expect(!claude.contains("no longer offered"))
    }

    @Test func `documents have names of their own, and Bedrock's words for their kinds`() throws {
        let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
        let parts = [("JVBERi0=", "application/pdf"), ("JVBERi1=", "application/pdf"), ("UEs=", docx)].map {
            #"{"type":"document","source":{"type":"base64","media_type":"\#($0.1)","data":"\#($0.0)"}}"#
        }
        let text = #"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"t"}}"#
        let body =
            #"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[\#((parts + [text]).joined(separator: ","))]}]}"#
        let request = try ClientRequest.read(ByteBuffer(string: body), as: .messages)
        let object = try Self.object(try request.encode(for: .bedrockConverse, model: "amazon.nova-pro-v1:0").body)
        let content = try #require((object["messages"] as? [[String: Any]])?.first?["content"] as? [[String: [String: Any]]])
        let documents = content.compactMap { $0["document"] }
        #expect(documents.map { $0["format"] as? String } == ["pdf", "pdf", "docx", "txt"])
        #expect(Set(documents.compactMap { $0["name"] as? String }).count == 4)
    }
}

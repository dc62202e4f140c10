import Core
import NIOCore
import Testing

@testable import ModelAPI

@Suite struct EmbeddingTests {
    @Test func `requests for embeddings tell their model and how many they want`() throws {
        for (input, count) in [(#""a""#, 1), (#"["a","b"]"#, 2), ("[1,2,3]", 1), ("[[1],[2],[3]]", 3), ("[]", 1)] {
            let body = #"{"input":\#(input),"model":"text-embedding-3-small","dimensions":5,"encoding_format":"base64"}"#
            let summary = try EmbeddingSummary.read(ByteBuffer(string: body), as: .openAI)
            let name = try #require(summary.modelValue)
            let isNumbers = input.contains("1")
            #expect(
                summary
                    == EmbeddingSummary(
                        model: "text-embedding-3-small", inputs: count, holdsTokens: isNumbers, modelValue: name))
            #expect(Array(body.utf8)[name].elementsEqual("\"text-embedding-3-small\"".utf8))
            #expect(summary.inputTokenBound(bodyBytes: body.utf8.count) >= body.utf8.count)
        }
        let one = try EmbeddingSummary.read(
            ByteBuffer(string: #"{"content":{"parts":[{"text":"a"}]}}"#), as: .gemini,
            path: "/v1beta/models/gemini-embedding-001:embedContent")
        #expect(one == EmbeddingSummary(model: "gemini-embedding-001", inputs: 1))
        let batch = try EmbeddingSummary.read(
            ByteBuffer(string: #"{"requests":[{"model":"models/g"},{}]}"#), as: .gemini, path: "models/g:batchEmbedContents")
        #expect(batch.inputs == 2)
        for (body, field) in [
            ("{}", "model"), (#"{"model":"m"}"#, "input"), (#"{"model":"m","input":5}"#, "input"),
            (#"{"model":"m","model":"n","input":"a"}"#, "model"),
        ] {
            #expect { try EmbeddingSummary.read(ByteBuffer(string: body), as: .openAI) } throws: {
                ($0 as? AppError)?.field == field
            }
        }
        #expect(throws: AppError.self) { try EmbeddingSummary.read(ByteBuffer(string: "{}"), as: .gemini, path: "/x") }
        // The path's model was judged and priced: no other can be named beside it.
        for body in [#"{"requests":[{"model":"models/g"},{"model":"models/h"}]}"#, #"{"model":"models/h","content":{"parts":[]}}"#]
        {
            #expect { try EmbeddingSummary.read(ByteBuffer(string: body), as: .gemini, path: "models/g:embedContent") } throws: {
                ($0 as? AppError)?.field == "model"
            }
        }
    }

    @Test(arguments: [
        (EmbeddingSummary.Format.gemini, #"{"requests":[{"content":{"parts":[{"text":"a"},{"file_data":{"file_uri":"x"}}]}}]}"#),
        (.gemini, #"{"content":{"parts":[{"fileData":{"fileUri":"x"}}]}}"#),
        (.gemini, #"{"content":{"parts":[{"inlineData":{"mimeType":"application/pdf","data":"JVBERg=="}}]}}"#),
        (.gemini, #"{"requests":[{"content":{"parts":[{"inline_data":{"mime_type":"image/png","data":"iVBORw=="}}]}}]}"#),
        (.openAI, #"{"model":"g","input":[{"type":"image_url","image_url":{"url":"https://example.org/a.png"}}]}"#),
        (.openAI, #"{"model":"g","input":["a",{"image":"https://example.org/a.png"}]}"#),
    ]) func `where the body does not show how many tokens come, its size bounds nothing`(
        format: EmbeddingSummary.Format, body: String
    ) throws {
        let summary = try EmbeddingSummary.read(ByteBuffer(string: body), as: format, path: "models/g:batchEmbedContents")
        #expect(RequestSummary(summary).inputTokenBound(bodyBytes: body.utf8.count) == nil)
    }

    @Test func `answers with embeddings tell their usage`() {
        let openAI =
            #"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-2e-3]}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}"#
        #expect(EmbeddingUsage.read(ByteBuffer(string: openAI), as: .openAI) == EmbeddingUsage(usage: Usage(input: 8), model: "m"))
        #expect(EmbeddingUsage.read(ByteBuffer(string: #"{"embedding":{"values":[1]}}"#), as: .gemini) == EmbeddingUsage())
        #expect(
            EmbeddingUsage.read(
                ByteBuffer(string: #"{"embedding":{"values":[1]},"usageMetadata":{"promptTokenCount":3}}"#), as: .gemini
            ).usage
                == Usage(input: 3))
        #expect(
            EmbeddingUsage.read(ByteBuffer(string: #"{"error":{"message":"no","type":"t"}}"#), as: .openAI).error?.message == "no")
        #expect(EmbeddingUsage.read(ByteBuffer(string: #"{"data":[0.1"#), as: .openAI).error?.type == "invalid_answer")
    }

    @Test func `tokens are counted by the provider that will answer, or not at all`() throws {
        let body =
            #"{"model":"claude-sonnet-4-5","system":"s","thinking":{"type":"enabled","budget_tokens":2000},"tools":[{"name":"t","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"q"}]}"#
        let request = try ClientRequest.read(ByteBuffer(string: body), as: .messages)
        #expect(try TokenCounting.body(request, for: .chatCompletions, model: "m") == nil)
        let responses = String(buffer: try #require(try TokenCounting.body(request, for: .responses, model: "gpt-5.1")))
        #expect(responses.hasPrefix(#"{"model":"gpt-5.1","tools":["#) && responses.contains(#""instructions":"s""#))
        for field in ["store", "stream", "include", "max_output_tokens"] { #expect(!responses.contains("\"\(field)\"")) }
        let gemini = String(buffer: try #require(try TokenCounting.body(request, for: .gemini, model: "gemini-2.5-pro")))
        #expect(gemini.hasPrefix(#"{"generateContentRequest":{"model":"models/gemini-2.5-pro","systemInstruction""#))
        gemini.utf8.withContiguousStorageIfAvailable { #expect(JSONCursor.isObject(UnsafeRawBufferPointer($0))) }
        let bedrock = try #require(try TokenCounting.body(request, for: .bedrockMessages, model: "anthropic.claude-sonnet-4-5"))
        #expect(String(buffer: bedrock).hasPrefix(#"{"input":{"invokeModel":{"body":"ey"#))
        for (answer, count) in [
            (#"{"input_tokens":5}"#, 5), (#"{"totalTokens":6}"#, 6), (#"{"inputTokens":7}"#, 7), ("{}", nil), ("x", nil),
        ] {
            #expect(TokenCounting.count(in: ByteBuffer(string: answer)) == count)
        }
        #expect(String(buffer: TokenCounting.answer(9)) == #"{"input_tokens":9}"#)
    }
}

@testable import ModelAPI

extension Recorded {
    /// A thought, a text in pieces, a signed call and a second one; usage in every chunk.
    static let geminiStream = """
        data: {"candidates": [{"content": {"parts": [{"text": "Let me ","thought": true}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 900,"totalTokenCount": 910,"cachedContentTokenCount": 600,"thoughtsTokenCount": 10},"modelVersion": "gemini-2.5-pro","responseId": "rID"}

        data: {"candidates": [{"content": {"parts": [{"text": "look.","thought": true}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 900,"totalTokenCount": 920,"cachedContentTokenCount": 600,"thoughtsTokenCount": 20},"modelVersion": "gemini-2.5-pro","responseId": "rID"}

        data: {"candidates": [{"content": {"parts": [{"text": "Hi \\ud83d\\ude00"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 900,"candidatesTokenCount": 3,"totalTokenCount": 923,"cachedContentTokenCount": 600,"thoughtsTokenCount": 20},"modelVersion": "gemini-2.5-pro","responseId": "rID"}

        data: {"candidates": [{"content": {"parts": [{"text": " über"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 900},"modelVersion": "gemini-2.5-pro","responseId": "rID"}

        data: {"candidates": [{"content": {"parts": [{"functionCall": {"name": "read_file","args": {"path": "a"}},"thoughtSignature": "Ci4B=="}],"role": "model"},"index": 0}],"modelVersion": "gemini-2.5-pro","responseId": "rID"}

        data: {"candidates": [{"content": {"parts": [{"functionCall": {"id": "own","name": "list_files","args": {}}}],"role": "model"},"finishReason": "STOP","index": 0}],"usageMetadata": {"promptTokenCount": 900,"candidatesTokenCount": 31,"totalTokenCount": 1001,"cachedContentTokenCount": 600,"thoughtsTokenCount": 70},"modelVersion": "gemini-2.5-pro","responseId": "rID"}


        """

    static let geminiPlain =
        #"{"candidates":[{"content":{"parts":[{"text":"Let me look.","thought":true},{"text":"Hi 😀 über"},"#
        + #"{"functionCall":{"name":"read_file","args":{"path": "a"}},"thoughtSignature":"Ci4B=="},{"functionCall":{"id":"own","name":"list_files","args":{}}}],"#
        + #""role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":900,"candidatesTokenCount":31,"totalTokenCount":1001,"#
        + #""cachedContentTokenCount":600,"thoughtsTokenCount":70},"modelVersion":"gemini-2.5-pro","responseId":"rID"}"#

    static func stream(_ api: ModelProtocol) -> String {
        switch api {
        case .messages: messagesStream
        case .chatCompletions: chatStream
        case .responses: responsesStream
        case .gemini: geminiStream
        }
    }

    static func plain(_ api: ModelProtocol) -> String {
        switch api {
        case .messages: messagesPlain
        case .chatCompletions: chatPlain
        case .responses: responsesPlain
        case .gemini: geminiPlain
        }
    }
}

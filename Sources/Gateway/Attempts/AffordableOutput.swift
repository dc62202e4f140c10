import Core
import ModelAPI
import NIOCore

/// How much output the money that is held for a call pays for, where it does not cover the longest answer.
enum AffordableOutput {
    /// All answers together; nil: the hold covers whatever may come.
    static func tokens(_ facts: CallRecord.Facts, _ target: Target) -> TokenCount? {
        guard facts.grant.amount < facts.demand.full else { return nil }
        let bytes = max(facts.call.body.readableBytes, target.translation?.upstream.body.readableBytes ?? 0)
        return target.price.affordableOutput(
            inputTokens: facts.summary.inputTokenBound(bodyBytes: bytes) ?? target.price.contextTokens, within: facts.grant.amount,
            requested: facts.summary.serviceTier) ?? 0
    }

    /// The body with that as its limit, for each of its answers; the same where its own limit is no higher.
    static func limit(_ body: ByteBuffer, _ facts: CallRecord.Facts, _ target: Target) -> ByteBuffer {
        guard let affordable = tokens(facts, target) else { return body }
        let each = max(1, affordable / facts.summary.answers)
        if each >= facts.summary.maxOutputTokens ?? target.price.maxOutputTokens { return body }
        let format = target.format ?? UpstreamFormat(target.api)
        return BodyEdit.apply(all: BodyEdit.outputLimit(each, in: body, as: format, model: target.model), to: body)
    }
}

extension UpstreamFormat {
    /// Of an upstream that speaks the client's own protocol.
    fileprivate init(_ api: ModelProtocol) {
        switch api {
        case .messages: self = .messages
        case .chatCompletions: self = .chatCompletions
        case .responses: self = .responses
        case .gemini: self = .gemini
        }
    }
}

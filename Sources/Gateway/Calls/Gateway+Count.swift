import Core
import HTTPTransport
import ModelAPI
import NIOCore

extension Gateway {
    /// Anthropic's `count_tokens` at a provider of another protocol, in that one's words. Never a paid call.
    ///
    /// - Throws: `notFound` where the provider cannot count: clients then estimate.
    func count(
        _ call: GatewayCall, _ api: ModelProtocol, _ target: Target, _ key: Provider.Key
    ) async throws -> GatewayAnswer {
        let provider = target.provider
        let format: UpstreamFormat = provider.type == .gemini ? .gemini : .responses
        // Amazon's count has to be signed, and is there for few models.
        guard api == .messages, provider.type != .bedrock,
            let body = try TokenCounting.body(
                try ClientRequest.read(call.body, as: .messages), for: format, model: target.model)
        else { throw cannotCount(provider) }
        let route = format == .gemini ? "v1beta/models/\(target.model):countTokens" : "v1/responses/input_tokens"
        let response = try await configuration.transport.send(
            HTTPClientRequest(
                method: "POST", url: provider.url(for: route),
                headers: HeaderEdits.upstream(
                    [(name: "content-type", value: "application/json")], key: key.secret, type: provider.type),
                body: body, timeouts: configuration.timeouts, allowPrivateAddresses: provider.allowsPrivateAddresses))
        let answer = try await response.body.collect(upTo: 1 << 20)
        guard response.status == 200, let tokens = TokenCounting.count(in: answer) else { throw cannotCount(provider) }
        return GatewayAnswer(
            status: 200, headers: [(name: "content-type", value: "application/json")],
            body: GatewayBody(TokenCounting.answer(tokens)))
    }

    private func cannotCount(_ provider: Provider) -> AppError {
        AppError(.notFound, "The provider '\(provider.name)' counts no tokens in this protocol; estimate them from the text.")
    }
}

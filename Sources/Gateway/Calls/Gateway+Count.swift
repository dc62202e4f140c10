import Core
import HTTPTransport
import ModelAPI
import NIOCore

extension Gateway {
    /// Anthropic's `count_tokens` at a provider of another protocol, in that one's words. Never a paid call.
    ///
    /// - Throws: `notFound` where the provider cannot count, with its reason: clients then estimate.
    func count(
        _ call: GatewayCall, _ api: ModelProtocol, _ target: Target, _ key: Provider.Key
    ) async throws -> GatewayAnswer {
        let provider = target.provider
        guard api == .messages, let (route, body) = try question(call, target) else { throw cannotCount(target) }
        var headers = HeaderEdits.upstream(
            [(name: "content-type", value: "application/json")], key: BedrockSigning.bearer(key, of: provider), type: provider.type)
        if provider.type == .bedrock { headers += BedrockSigning.headers(key, provider, route: route, body: body) }
        var request = HTTPClientRequest(
            method: "POST", url: provider.url(for: route), headers: headers, body: body, timeouts: configuration.timeouts,
            allowPrivateAddresses: provider.allowsPrivateAddresses)
        request.mayBeSentAgain = true  // it costs nothing and changes nothing
        let response = try await configuration.transport.send(request)
        let answer = try await response.body.collect(upTo: 1 << 20)
        if response.status == 200, let tokens = TokenCounting.count(in: answer) {
            return GatewayAnswer(
                status: 200, headers: [(name: "content-type", value: "application/json")],
                body: GatewayBody(TokenCounting.answer(tokens)))
        }
        // Worth another try later, which the client has to know.
        if response.status == 429 || response.status >= 500 {
            let error = Failure(UpstreamError.read(answer), status: response.status).answer(
                api, requestID: call.requestID, retryAfter: AttemptVerdict.retryAfter { response.header($0) })
            return GatewayAnswer(status: error.status, headers: error.headers, body: GatewayBody(error.body))
        }
        throw cannotCount(target, response.status == 200 ? nil : UpstreamError.read(answer))
    }

    /// Nil: this provider cannot be asked.
    private func question(_ call: GatewayCall, _ target: Target) throws(AppError) -> (route: String, body: ByteBuffer)? {
        let model = target.model
        if target.format == .bedrockMessages {
            // Claude's own body, as it would be sent.
            let (betas, _) = BedrockBetas.divide(call.betas, model: model)
            return (countRoute(model), try TokenCounting.bedrockBody(call.body, betas: betas))
        }
        // OpenAI counts for Responses alone, whichever of its two protocols is spoken.
        let format = target.format.flatMap { $0 == .chatCompletions ? nil : $0 } ?? .responses
        guard let body = try TokenCounting.body(try ClientRequest.read(call.body, as: .messages), for: format, model: model) else {
            return nil
        }
        return switch format {
        case .gemini: ("v1beta/models/\(model):countTokens", body)
        case .bedrockConverse: (countRoute(model), body)
        default: ("v1/responses/input_tokens", body)
        }
    }

    private func countRoute(_ model: String) -> String {
        String(AWSPath.bedrock(.countTokens, model: BedrockModel(model).foundation).dropFirst())
    }

    private func cannotCount(_ target: Target, _ error: UpstreamError? = nil) -> AppError {
        let reason = error.map { " It says: \($0.message.prefix(500))" } ?? ""
        return AppError(
            .notFound,
            "The provider '\(target.provider.name)' counts no tokens of \(target.model.prefix(128)) in this protocol; estimate them from the text.\(reason)"
        )
    }
}

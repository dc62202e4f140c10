import Core
import Foundation
import ModelAPI
import NIOCore

/// A call in the protocol of an upstream that does not speak the client's.
struct Translation: Sendable {
    var request: ClientRequest
    var format: UpstreamFormat
    var upstream: UpstreamRequest
    var context: AnswerContext
    /// The client's `anthropic-beta` flags that Bedrock takes; their place there is in the body.
    var betas: [String] = []
    private var betaLosses = Losses()

    /// - Throws: `badRequest` for what the upstream cannot be asked.
    init(_ request: ClientRequest, _ target: Target, _ format: UpstreamFormat, _ call: GatewayCall) throws(AppError) {
        self.request = request
        self.format = format
        upstream = try request.encode(
            for: format, model: target.model, defaultMaxOutputTokens: min(32_000, target.price.maxOutputTokens))
        let requestID = call.round == 1 ? call.requestID : "\(call.requestID)-\(call.round)"
        context = AnswerContext(request, upstream, requestID: requestID, created: Int(Date().timeIntervalSince1970))
        if passesBody {
            let (taken, dropped) = BedrockBetas.divide(call.betas, model: target.model)
            betas = taken
            for flag in dropped { betaLosses.note("anthropic-beta.\(flag)") }
        }
    }

    var translator: AnswerTranslator { AnswerTranslator(request, from: format, context) }

    /// Claude on Bedrock, asked in Claude's own words: the body passes but for what Bedrock wants elsewhere.
    var passesBody: Bool { format == .bedrockMessages && request.api == .messages }

    /// What the client asked for and the upstream is not.
    var losses: Losses { passesBody ? betaLosses : upstream.losses }

    /// Where the upstream is asked.
    func route(model: String) -> String {
        switch format {
        case .bedrockMessages: String(AWSPath.bedrock(request.stream ? .invokeStream : .invoke, model: model).dropFirst())
        case .bedrockConverse: String(AWSPath.bedrock(request.stream ? .converseStream : .converse, model: model).dropFirst())
        default: format.api.route(model: model, stream: request.stream)
        }
    }

    /// Only what says how the body is to be read: a client's other headers are for its own provider.
    var headers: [(name: String, value: String)] {
        var headers = [
            (name: "content-type", value: "application/json"),
            (name: "accept", value: request.stream ? "text/event-stream" : "application/json"),
        ]
        if format == .messages { headers.append((name: "anthropic-version", value: "2023-06-01")) }
        if format == .bedrockMessages || format == .bedrockConverse {
            headers[1].value = request.stream ? "application/vnd.amazon.eventstream" : "application/json"
        }
        return headers
    }

    /// An error of the upstream in the client's words.
    func error(status: Int, _ body: ByteBuffer, retryAfter: Duration?) -> ErrorShape.Answer {
        Failure(UpstreamError.read(body), status: status)
            .answer(request.api, requestID: context.requestID, retryAfter: retryAfter)
    }
}

extension GatewayCall {
    /// Of its `anthropic-beta` headers.
    var betas: [String] {
        headers.filter { $0.name.lowercased() == "anthropic-beta" }.flatMap { $0.value.split(separator: ",") }
            .map { $0.filter { $0 != " " } }.filter { !$0.isEmpty }
    }
}

extension RoutePlan {
    /// Translates the call for the targets that need it. Targets that cannot be asked are left out.
    ///
    /// - Throws: `badRequest` when none is left.
    func translated(_ call: GatewayCall, _ api: ModelProtocol) throws(AppError) -> RoutePlan {
        guard targets.contains(where: { $0.format != nil }) else { return self }
        var plan = self
        plan.targets = []
        var refusal: AppError?
        var read: ClientRequest?
        for target in targets {
            var target = target
            if let format = target.format {
                do throws(AppError) {
                    let request: ClientRequest
                    if let read { request = read } else { request = try ClientRequest.read(call.body, as: api) }
                    read = request
                    target = target.translated(try Translation(request, target, format, call))
                } catch {
                    refusal = refusal ?? error
                    continue
                }
            }
            plan.targets.append(target)
        }
        if plan.targets.isEmpty, let refusal { throw refusal }
        return plan
    }
}

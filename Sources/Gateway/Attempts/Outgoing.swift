import Core
import HTTPTransport
import ModelAPI
import NIOCore

/// An attempt as it goes over the wire.
struct Outgoing: Sendable {
    var route: String
    var headers: [(name: String, value: String)]
    var body: ByteBuffer
    /// The gateway asked for the usage, and the client did not.
    var asksForUsage = false

    init(_ attempt: Attempt, _ facts: CallRecord.Facts) {
        let target = attempt.target
        let provider = target.provider
        if let translation = target.translation {
            route = translation.route(model: target.model)
            body = translation.upstream.body
            headers = HeaderEdits.upstream(
                translation.headers, key: BedrockSigning.bearer(attempt.key, of: provider), type: provider.type)
            // Claude's own body stays as the client wrote it, but for what Bedrock wants elsewhere.
            if translation.passesBody,
                let edits = try? BedrockBody.edits(facts.call.body, betas: translation.betas)
            {
                body = BodyEdit.apply(all: edits, to: facts.call.body)
            }
        } else {
            var edits: [BodyEdit] = []
            if target.api == .chatCompletions, let edit = BodyEdit.includeUsage(facts.summary, in: facts.call.body) {
                edits.append(edit)
            }
            asksForUsage = !edits.isEmpty
            if let edit = BodyEdit.model(target.model, facts.summary) { edits.append(edit) }
            route = target.route(of: facts.call, facts.summary)
            headers = HeaderEdits.upstream(facts.call.headers, key: attempt.key.secret, type: provider.type)
            body =
                edits.isEmpty
                ? facts.call.body
                : BodyEdit.apply(all: edits.sorted { $0.range.lowerBound < $1.range.lowerBound }, to: facts.call.body)
        }
        if provider.settings.traceContext == true { headers += TraceHeaders.upstream(facts.call) }
        body = AffordableOutput.limit(body, facts, target)
        if provider.type == .bedrock { headers += BedrockSigning.headers(attempt.key, provider, route: route, body: body) }
    }

    /// - Parameter timeouts: the server's own.
    func request(_ attempt: Attempt, method: String, timeouts: HTTPClientRequest.Timeouts) -> HTTPClientRequest {
        let provider = attempt.target.provider
        var request = HTTPClientRequest(
            method: method, url: provider.url(for: route), headers: headers, body: body,
            timeouts: provider.settings.of(attempt.target.model).timeouts(timeouts),
            allowPrivateAddresses: provider.allowsPrivateAddresses)
        request.freshConnection = attempt.isOnFreshConnection
        return request
    }
}

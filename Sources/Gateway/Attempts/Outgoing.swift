import Core
import Crypto
import Foundation
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
            headers = HeaderEdits.upstream(translation.headers, key: Self.plainKey(attempt), type: provider.type)
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
        if provider.type == .bedrock { sign(attempt) }
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

    // MARK: Amazon

    /// A key that signs is no bearer token.
    private static func plainKey(_ attempt: Attempt) -> Secret<String> {
        attempt.target.provider.type == .bedrock && credentials(attempt.key) != nil ? Secret("") : attempt.key.secret
    }

    private static func credentials(_ key: Provider.Key) -> AWSCredentials? {
        let parts = key.secret.reveal().split(separator: ":", maxSplits: 2)
        guard parts.count >= 2 else { return nil }
        return AWSCredentials(
            accessKeyID: String(parts[0]), secretAccessKey: Secret(String(parts[1])),
            sessionToken: parts.count > 2 ? Secret(String(parts[2])) : nil)
    }

    private mutating func sign(_ attempt: Attempt) {
        guard let credentials = Self.credentials(attempt.key) else { return }
        let provider = attempt.target.provider
        let url = provider.url(for: route)
        let rest = url.drop { $0 != ":" }.dropFirst(3)
        let host = String(rest.prefix { $0 != "/" })
        let signer = SigV4(
            credentials: credentials, region: provider.settings.region ?? Self.region(ofHost: host), service: "bedrock")
        headers += signer.headers(
            method: "POST", path: String(rest.dropFirst(host.count)), headers: [(name: "host", value: host)],
            bodyHash: body.withUnsafeReadableBytes { SHA256.hash(bytes: $0) }, seconds: Int(Date().timeIntervalSince1970))
    }

    /// `bedrock-runtime.eu-central-1.amazonaws.com` names it.
    private static func region(ofHost host: String) -> String {
        let parts = host.split(separator: ".")
        return parts.count >= 4 && parts[0].hasPrefix("bedrock-runtime") ? String(parts[1]) : "us-east-1"
    }
}

import API
import Core
import Gateway
import HTTPTypes
import Hummingbird
import Logging
import ModelAPI
import NIOCore

/// `/api/v2/ai-gateway/<provider>/…`: the providers' own APIs for clients outside, with a Slipway token in place of a key.
///
/// Calls of models are POST requests; the data plane (`ModelCallHandler`) takes those of known callers in front of the router.
/// Everything else here, and all of it where there is no data plane, comes through the router.
struct GatewayDoor: Sendable {
    static let prefix = APIPaths.base + "/ai-gateway/"
    static let pattern = APIPaths.base + "/ai-gateway/{provider}/**"
    static let maxBodyBytes = 32 << 20

    let gateway: Gateway

    func register(on table: RouteTable) {
        for method in [HTTPRequest.Method.get, .head, .post, .put, .delete, .patch] {
            table.door(
                method, Self.pattern, .callModels,
                refuse: { error, incoming in
                    incoming.context.note(error)
                    return Self.response(Self.refusal(error, path: incoming.request.uri.path, requestID: incoming.requestID), nil)
                }, pass)
        }
    }

    @Sendable func pass(_ call: Call) async throws -> Response {
        let incoming = call.incoming
        let disconnect = try incoming.context.disconnect()
        let request = try Self.call(
            incoming.request.head, body: try await incoming.collect(upTo: Self.maxBodyBytes), principal: call.principal,
            requestID: incoming.requestID, clientAddress: incoming.clientAddress)
        let answer = try await disconnect.cancelling { [gateway] in await gateway.call(request) }
        return Self.response(answer, disconnect)
    }

    /// Whether this path is one of `pattern`: with a provider and something behind it.
    static func leads(_ path: String) -> Bool {
        guard path.hasPrefix(prefix) else { return false }
        let rest = path.utf8.dropFirst(prefix.utf8.count)
        guard let slash = rest.firstIndex(of: UInt8(ascii: "/")), slash > rest.startIndex else { return false }
        return rest[slash...].dropFirst().first.map { $0 != UInt8(ascii: "?") } ?? false
    }

    /// The gateway's view of a request.
    static func call(
        _ head: HTTPRequest, body: ByteBuffer, principal: Principal, requestID: String, clientAddress: String?
    ) throws -> GatewayCall {
        let rest = (head.path ?? "").dropFirst(prefix.utf8.count)
        guard let slash = rest.firstIndex(of: "/") else {
            throw AppError(.notFound, "There is nothing at this path: it has no provider, or nothing behind it.", field: "provider")
        }
        let provider = String(rest[..<slash])
        return GatewayCall(
            principal: principal,
            provider: provider.utf8.contains(UInt8(ascii: "%")) ? provider.removingPercentEncoding ?? provider : provider,
            route: String(rest[rest.index(after: slash)...]), method: head.method.rawValue,
            headers: head.headerFields.map { ($0.name.rawName, $0.value) }, body: body, origin: .http, requestID: requestID,
            clientAddress: clientAddress)
    }

    /// Who is not let in reads why in the shape of the protocol that the path belongs to.
    static func refusal(_ error: AppError, path: String, requestID: String) -> GatewayAnswer {
        let api = Gateway.errorProtocol(ofPath: path)
        var wait: Duration?
        if case .after(let time) = error.retry { wait = time }
        let shaped = ErrorShape.body(
            api, status: error.status.code, message: error.message, requestID: requestID, retryAfter: wait)
        return GatewayAnswer(status: shaped.status, headers: shaped.headers, body: GatewayBody(shaped.body))
    }

    static func fields(_ headers: [(name: String, value: String)]) -> HTTPFields {
        var fields = HTTPFields()
        fields.reserveCapacity(headers.count + 6)
        for (name, value) in headers {
            if let name = HTTPField.Name(name) { fields.append(HTTPField(name: name, value: value)) }
        }
        return fields
    }

    private static func response(_ answer: GatewayAnswer, _ disconnect: Disconnect?) -> Response {
        let status = HTTPResponse.Status(code: answer.status)
        let headers = fields(answer.headers)
        guard answer.body.whole == nil, let disconnect else {
            return Response(status: status, headers: headers, body: .init(byteBuffer: answer.body.whole ?? ByteBuffer()))
        }
        let body = answer.body
        return Response(
            status: status, headers: headers,
            body: .streamed(until: disconnect) { writer in
                for await chunk in body { try await writer.write(chunk) }
                // Cancelled: the client is gone, and an end would say that the answer was whole.
                try Task.checkCancellation()
            })
    }
}

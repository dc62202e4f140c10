import API
import Core
import Gateway
import HTTPTypes
import Hummingbird
import ModelAPI
import NIOCore

/// `/api/v2/ai-gateway/<provider>/…`: the providers' own APIs for clients outside, with a Slipway token in place of a key.
struct GatewayDoor: Sendable {
    static let maxBodyBytes = 32 << 20

    let gateway: Gateway

    func register(on table: RouteTable) {
        for method in [HTTPRequest.Method.get, .post, .put, .delete, .patch] {
            table.door(method, APIPaths.base + "/ai-gateway/{provider}/**", .callModels, refuse: refuse, pass)
        }
    }

    @Sendable func pass(_ call: Call) async throws -> Response {
        let incoming = call.incoming
        let disconnect = try await incoming.context.disconnect()
        let request = GatewayCall(
            principal: call.principal, provider: try incoming.path("provider"), route: Self.route(incoming.request),
            method: incoming.request.method.rawValue, headers: incoming.request.headers.map { ($0.name.rawName, $0.value) },
            body: try await incoming.collect(upTo: Self.maxBodyBytes), origin: .http, requestID: incoming.requestID,
            clientAddress: incoming.clientAddress)
        let answer = try await disconnect.cancelling { [gateway] in await gateway.call(request) }
        return Self.response(answer, disconnect)
    }

    /// What follows the provider's name, as it was sent.
    private static func route(_ request: Request) -> String {
        let path = request.head.path ?? ""
        let rest = path.dropFirst((APIPaths.base + "/ai-gateway/").count)
        return rest.firstIndex(of: "/").map { String(rest[rest.index(after: $0)...]) } ?? ""
    }

    private static func response(_ answer: GatewayAnswer, _ disconnect: Disconnect) -> Response {
        var headers = HTTPFields()
        for (name, value) in answer.headers {
            if let name = HTTPField.Name(name) { headers.append(HTTPField(name: name, value: value)) }
        }
        let status = HTTPResponse.Status(code: answer.status)
        if let whole = answer.body.whole {
            return Response(status: status, headers: headers, body: .init(byteBuffer: whole))
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

    /// Who is not let in reads why in the shape of the protocol that the path belongs to.
    @Sendable func refuse(_ error: AppError, _ incoming: Incoming) -> Response {
        incoming.context.note(error)
        let api: ModelProtocol = incoming.request.uri.path.contains("/chat/completions") ? .chatCompletions : .messages
        var wait: Duration?
        if case .after(let time) = error.retry { wait = time }
        let shaped = ErrorShape.body(
            api, status: error.status.code, message: error.message, requestID: incoming.requestID, retryAfter: wait)
        var headers = HTTPFields()
        for (name, value) in shaped.headers {
            if let name = HTTPField.Name(name) { headers.append(HTTPField(name: name, value: value)) }
        }
        return Response(status: .init(code: shaped.status), headers: headers, body: .init(byteBuffer: shaped.body))
    }
}

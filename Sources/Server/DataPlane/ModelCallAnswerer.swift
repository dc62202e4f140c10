import Core
import Gateway
import HTTPTypes
import Logging
import NIOCore

/// Answers the calls that the data plane takes: the same frame, authentication, permission and gateway as through the router.
struct ModelCallAnswerer: Sendable {
    struct Incoming: Sendable {
        var head: HTTPRequest
        /// Nil: larger than `GatewayDoor.maxBodyBytes`.
        var body: ByteBuffer?
        var peer: String?
    }

    let gateway: Gateway
    let authenticator: Authenticator
    let frame: RequestFrame

    /// - Returns: false when the answer broke off, because the client has left.
    func answer(_ incoming: Incoming, to writer: ModelCallHandler.Writer) async -> Bool {
        let head = incoming.head
        let opened = frame.open(head.headerFields, requestID: SlipwayContext.newRequestID(), peer: incoming.peer)
        let path = String((head.path ?? "").prefix { $0 != "?" })
        let answer = await RequestScope.$requestID.withValue(opened.requestID) {
            await self.answer(incoming, path: path, opened)
        }
        var fields = GatewayDoor.fields(answer.headers)
        RequestFrame.complete(&fields, requestID: opened.requestID)
        fields[.date] = HTTPDate.now
        let status = HTTPResponse.Status(code: answer.status)
        frame.close(opened, method: head.method.rawValue, path: path, route: GatewayDoor.pattern, status: status)
        if let whole = answer.body.whole {
            if status.code != 204, status.code != 304 { fields[.contentLength] = String(whole.readableBytes) }
            writer.write(HTTPResponse(status: status, headerFields: fields), whole: whole)
            return true
        }
        writer.write(HTTPResponse(status: status, headerFields: fields))
        for await chunk in answer.body { await writer.write(chunk) }
        return !Task.isCancelled
    }

    private func answer(_ incoming: Incoming, path: String, _ opened: RequestFrame.Opened) async -> GatewayAnswer {
        do {
            let principal = try await authenticator.principalByToken(in: incoming.head.headerFields)
            _ = try RouteTable.reach(principal, .callModels)
            guard let body = incoming.body else {
                throw AppError(.tooLarge, "The request's body is larger than \(GatewayDoor.maxBodyBytes) bytes.")
            }
            return await gateway.call(
                try GatewayDoor.call(
                    incoming.head, body: body, principal: principal, requestID: opened.requestID,
                    clientAddress: opened.clientAddress))
        } catch {
            let error = AppError(anything: error)
            frame.logger.note(error, requestID: opened.requestID)
            return GatewayDoor.refusal(error, path: path, requestID: opened.requestID)
        }
    }
}

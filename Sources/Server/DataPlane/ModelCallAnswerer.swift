import Core
import Gateway
import HTTPTypes
import Logging
import NIOCore

/// Answers the calls that the data plane takes: the same frame, permission and gateway as through the router.
struct ModelCallAnswerer: ModelCalls {
    let gateway: Gateway
    let authenticator: Authenticator
    let frame: RequestFrame

    /// The body is kept in memory from here on, so nobody is let in whom memory does not know: strangers, and tokens that were made
    /// a moment ago, go to the router, which asks the database and explains before it reads anything.
    func caller(of head: HTTPRequest) -> Principal? {
        guard head.method == .post, let path = head.path, GatewayDoor.leads(path),
            let principal = authenticator.knownByToken(in: head.headerFields), principal.reach(of: .callModels) > .none
        else { return nil }
        return principal
    }

    func answer(_ incoming: ModelCallHandler.Incoming, to writer: ModelCallHandler.Writer) async -> GatewayBody? {
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
            return nil
        }
        writer.write(HTTPResponse(status: status, headerFields: fields))
        return answer.body
    }

    private func answer(_ incoming: ModelCallHandler.Incoming, path: String, _ opened: RequestFrame.Opened) async -> GatewayAnswer {
        do {
            guard let body = incoming.body else {
                throw AppError(.tooLarge, "The request's body is larger than \(GatewayDoor.maxBodyBytes) bytes.")
            }
            return await gateway.call(
                try GatewayDoor.call(
                    incoming.head, body: body, principal: incoming.principal, requestID: opened.requestID,
                    clientAddress: opened.clientAddress))
        } catch {
            let error = AppError(anything: error)
            frame.logger.note(error, requestID: opened.requestID)
            return GatewayDoor.refusal(error, path: path, requestID: opened.requestID)
        }
    }
}

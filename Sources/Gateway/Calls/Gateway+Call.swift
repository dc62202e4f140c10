import Core
import ModelAPI
import NIOCore

extension Gateway {
    /// Makes a call. Never throws: what is wrong is answered in the words of the client's protocol.
    package func call(_ made: GatewayCall) async -> GatewayAnswer {
        var call = made
        if let tracer = configuration.tracer, call.method == "POST" { call.trace = CallTrace(tracer, call) }
        do {
            try await admission.enter(bodyBytes: call.body.readableBytes, turn: CallClass(call))
        } catch {
            return refuse(call, error, nil, provider: nil)
        }
        // From here on either `leave` is called below, or the call has a record, whose end does it.
        var provider: Provider?
        do {
            let current = try settings.current()
            provider = current.provider(named: call.provider, organization: call.principal.organization)
            guard provider?.isEnabled == true || call.provider == ModelRoute.path else { throw current.unknownProvider(call) }
            switch GatewayRoute(method: call.method, route: call.route) {
            case .model(let api):
                if let offers = current.injection, let inner = try await inner(call, api, offers) {
                    // Its rounds are calls of their own.
                    admission.leave()
                    return await inner.answer()
                }
                return try await callModel(call, api, current)
            case .embedding(let format):
                call.embedding = format
                return try await callModel(call, format.api, current)
            case .free:
                // Costs nothing and is no operation of a model.
                call.trace = nil
                defer { admission.leave() }
                return try await passFree(call, current)
            case .hello:
                admission.leave()
                return GatewayAnswer(status: 200, headers: [], body: GatewayBody(ByteBuffer()))
            case .unknown:
                throw AppError(
                    .notFound,
                    "\(call.method) /\(call.route.prefix(200)) is not served by the gateway; it serves \(GatewayRoute.served).")
            }
        } catch let ended as EndedCall {
            return refuse(call, ended.error, call.id, provider: provider)
        } catch {
            admission.leave()
            return refuse(call, error, nil, provider: provider)
        }
    }

    /// An error of a call whose record has ended already.
    struct EndedCall: Error { var error: AppError }

    private func refuse(_ call: GatewayCall, _ error: any Error, _ id: InterceptionID?, provider: Provider?) -> GatewayAnswer {
        let failure: AppError
        if let error = error as? AppError {
            failure = error
        } else if error is CancellationError {
            failure = AppError(.unavailable, "The call was cancelled.")
        } else {
            failure = AppError(
                .internal, "The call failed inside Slipway; the log says why under request \(call.requestID).", cause: error)
        }
        if failure.source == .server {
            configuration.logger.warning(
                "model call refused", metadata: ["request_id": "\(call.requestID)", "error": "\(failure)"])
        }
        meters.refused(provider: provider?.name ?? "unknown", failure)
        call.trace?.refused(call, failure, provider: provider)
        return Refusal.answer(
            failure, GatewayRoute.errorProtocol(route: call.route, provider: provider), requestID: call.requestID, interception: id)
    }
}

import Core
import Foundation
import HTTPTypes
import Hummingbird
import Logging

/// Around every request: its id, the client's address, errors as JSON, one log line, the metrics, headers for browsers.
package struct RequestMiddleware: RouterMiddleware {
    let meters: RequestMeters
    let trustedProxies: [AddressRange]
    let logger: Logger

    package func handle(
        _ request: Request, context: SlipwayContext, next: (Request, SlipwayContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        let isBehindProxy = context.clientAddress.map { address in trustedProxies.contains { $0.contains(address) } } ?? false
        if isBehindProxy {
            if let id = request.headers[.xRequestID], Self.isUsable(id) { context.requestID = id }
            context.clientAddress = clientAddress(request, peer: context.clientAddress)
        }
        let begin = ContinuousClock.now
        meters.inFlight.add(1)
        var response: Response
        do {
            let inner = context
            response = try await RequestScope.$requestID.withValue(context.requestID) { try await next(request, inner) }
        } catch {
            let error = AppError(anything: error)
            context.note(error)
            response = .error(error, requestID: context.requestID)
        }
        meters.inFlight.add(-1)
        let duration = begin.duration(to: .now)
        let route = context.endpointPath ?? "-"
        meters.answered(method: request.method.rawValue, route: route, status: response.status.code, in: duration)
        response.headers[.xRequestID] = context.requestID
        response.headers[.xContentTypeOptions] = "nosniff"
        response.headers[.xFrameOptions] = "DENY"
        response.headers[.referrerPolicy] = "same-origin"
        let level: Logger.Level = route == "/healthz" || route == "/readyz" || route == "/metrics" ? .debug : .info
        // The path only: a query can hold what does not belong into logs.
        logger.log(
            level: level, "\(request.method) \(request.uri.path)",
            metadata: [
                "request_id": "\(context.requestID)", "status": "\(response.status.code)", "ms": "\(duration.milliseconds)",
                "client": "\(context.clientAddress ?? "-")",
            ])
        return response
    }

    /// The last address in `X-Forwarded-For` that no trusted proxy has.
    private func clientAddress(_ request: Request, peer: String?) -> String? {
        let hops = request.headers[values: .xForwardedFor].joined(separator: ",").split(separator: ",")
            .map { $0.trimmingCharacters(in: .whitespaces) }
        return hops.last { hop in !trustedProxies.contains { $0.contains(hop) } } ?? peer
    }

    private static func isUsable(_ id: String) -> Bool {
        (1...64).contains(id.utf8.count)
            && id.utf8.allSatisfy {
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 45 || $0 == 46 || $0 == 95
            }
    }
}

extension SlipwayContext {
    /// Writes what the caller is not told. Errors that only the caller can mend are no news to the operator.
    func note(_ error: AppError) {
        let level: Logger.Level = error.code == .internal ? .error : error.source == .client ? .debug : .warning
        var logger = logger
        logger[metadataKey: "hb.request.id"] = nil
        logger.log(level: level, "\(error)", metadata: ["request_id": "\(requestID)"])
    }
}

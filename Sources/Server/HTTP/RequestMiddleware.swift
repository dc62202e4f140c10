import Core
import HTTPTypes
import Hummingbird
import Logging

/// The frame around every request that the router answers; errors become JSON here.
package struct RequestMiddleware: RouterMiddleware {
    let frame: RequestFrame
    /// How a browser is told of an error where no page is; nil: as JSON.
    var page: (@Sendable (AppError, Incoming) throws -> Response)?

    package func handle(
        _ request: Request, context: SlipwayContext, next: (Request, SlipwayContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        let opened = frame.open(request.headers, requestID: context.requestID, peer: context.clientAddress)
        context.requestID = opened.requestID
        context.clientAddress = opened.clientAddress
        var response: Response
        do {
            let inner = context
            response = try await RequestScope.$requestID.withValue(context.requestID) { try await next(request, inner) }
        } catch {
            let error = AppError(anything: error)
            context.note(error)
            response = .error(error, requestID: context.requestID)
            if let page, Self.isBrowser(request), let shown = try? page(error, Incoming(request: request, context: context)) {
                response = shown
            }
        }
        frame.close(
            opened, method: request.method.rawValue, path: request.uri.path, route: context.endpointPath ?? "-",
            status: response.status)
        RequestFrame.complete(&response.headers, requestID: context.requestID)
        return response
    }

    /// Somebody who typed an address or followed a link, and no program.
    private static func isBrowser(_ request: Request) -> Bool {
        request.method == .get && !request.uri.path.hasPrefix("/api/") && !request.uri.path.hasPrefix("/internal/")
            && request.headers[.accept]?.contains("text/html") == true
    }
}

extension SlipwayContext {
    /// Writes what the caller is not told. Errors that only the caller can mend are no news to the operator.
    func note(_ error: AppError) {
        var logger = logger
        logger[metadataKey: "hb.request.id"] = nil
        logger.note(error, requestID: requestID)
    }
}

extension Logger {
    /// Writes what the caller is not told.
    func note(_ error: AppError, requestID: String) {
        let level: Logger.Level = error.code == .internal ? .error : error.source == .client ? .debug : .warning
        log(level: level, "\(error)", metadata: ["request_id": "\(requestID)"])
    }
}

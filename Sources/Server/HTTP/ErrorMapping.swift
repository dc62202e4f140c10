import API
import Core
import Foundation
import HTTPTypes
import Hummingbird
import Postgres

extension AppError {
    /// The only place where a kind of error becomes an HTTP status.
    package var status: HTTPResponse.Status {
        switch code {
        case .badRequest: .badRequest
        case .unauthenticated: .unauthorized
        case .forbidden, .budgetExceeded, .policyDenied: .forbidden
        case .notFound: .notFound
        case .conflict: .conflict
        case .tooLarge: .contentTooLarge
        case .rateLimited: .tooManyRequests
        case .unavailable: .serviceUnavailable
        case .upstream: .badGateway
        case .timeout: .gatewayTimeout
        case .internal: .internalServerError
        }
    }

    /// What the caller is told: an error that is no `AppError` says nothing about the inside.
    package init(anything error: any Error) {
        switch error {
        case var error as AppError:
            // An address that this server may not reach is nothing that its caller is not allowed.
            if error.code == .forbidden, error.source == .server { error.code = .upstream }
            self = error
        case let error as PostgresError where error.isConnectionLost:
            self.init(
                .unavailable, "The database cannot be reached at this moment; try again.", source: .server,
                retry: .after(.seconds(2)),
                cause: error)
        case let error as PostgresError where error.isDiskFull:
            self.init(
                .unavailable, "The disk of the database is full; nothing can be written until an operator has made room.",
                source: .server, retry: .after(.seconds(30)), cause: error)
        case let error as PostgresError where error.isTransient:
            self.init(
                .unavailable, "The database cannot do this at this moment; try again.", source: .server, retry: .after(.seconds(2)),
                cause: error)
        case let error as PostgresError where error.isBadValue:
            self.init(.badRequest, "A value of the request is too large, or cannot be stored: \(error.message).", cause: error)
        case let error as any HTTPResponseError:
            self.init(http: error)
        case is CancellationError:
            self.init(.unavailable, "The request was cancelled.", source: .server, retry: .now)
        default:
            self.init(
                .internal, "Something went wrong on the server; its log has the details under this request's id.", cause: error)
        }
    }

    private init(http error: any HTTPResponseError) {
        switch error.status {
        case .notFound: self.init(.notFound, "There is nothing at this path.")
        case .methodNotAllowed: self.init(.badRequest, "This path does not take this method.")
        case .contentTooLarge: self.init(.tooLarge, "The request's body is too large.")
        case .badRequest: self.init(.badRequest, "The request is not well-formed.")
        default: self.init(.internal, "The request failed.", cause: error)
        }
    }
}

extension Response {
    package static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
        let data = try APICoding.encoder().encode(value)
        return Response(
            status: status, headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(bytes: data)))
    }

    package static var noContent: Response { Response(status: .noContent) }

    package static func error(_ error: AppError, requestID: String) -> Response {
        let validations = error.field.map { [ErrorResponse.Validation(field: $0, detail: error.message)] } ?? []
        let body = ErrorResponse(
            code: error.code.rawValue, message: error.message, detail: "request id \(requestID)", validations: validations)
        var response = (try? Response.json(body, status: error.status)) ?? Response(status: error.status)
        if case .after(let time) = error.retry { response.headers[.retryAfter] = "\(Int(time.inSeconds.rounded(.up)))" }
        if error.code == .unauthenticated { response.headers[.wwwAuthenticate] = "Bearer" }
        return response
    }
}

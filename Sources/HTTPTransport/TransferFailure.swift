import CCurl
import Core

/// A kept connection ended without a byte of an answer to a request that is not to be sent twice unasked.
package struct KeptConnectionClosed: Error { package init() {} }

/// Turns curl's status codes into errors that say which host, what happened and what to do.
enum TransferFailure {
    static func error(_ code: CURLcode, detail: String, target: RequestTarget, bytesRead: Int, hasHead: Bool, caFile: String?)
        -> AppError
    {
        let name = target.name
        func upstream(_ message: String, retry: AppError.Retry) -> AppError {
            AppError(.upstream, message, detail: detail.isEmpty ? nil : "curl \(code.rawValue): \(detail)", retry: retry)
        }
        let soon = AppError.Retry.after(.seconds(1))
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST:
            return upstream(
                "cannot resolve the host name \(target.host): check the provider's URL and this machine's DNS", retry: soon)
        case CURLE_COULDNT_CONNECT:
            return upstream("cannot connect to \(name): is it running and reachable from here?", retry: soon)
        case CURLE_SSL_CACERT_BADFILE:
            return AppError(
                .internal, "cannot read the CA file \(caFile ?? "of this system"): expected PEM certificates", detail: detail,
                source: .server)
        case CURLE_PEER_FAILED_VERIFICATION:
            return upstream(
                "the TLS certificate of \(name) is not trusted (\(detail)): if it comes from a private authority, name its CA file",
                retry: .never)
        case CURLE_SSL_CONNECT_ERROR:
            return upstream("the TLS handshake with \(name) failed (\(detail))", retry: soon)
        case CURLE_GOT_NOTHING:
            return upstream("\(name) closed the connection without an answer", retry: .now)
        case CURLE_PARTIAL_FILE, CURLE_RECV_ERROR:
            return upstream(
                hasHead
                    ? "\(name) broke off its answer after \(bytesRead) bytes of the body"
                    : "the connection to \(name) broke before an answer came",
                retry: hasHead ? .never : .now)
        case CURLE_SEND_ERROR:
            return upstream("the connection to \(name) broke while the request was being sent", retry: .now)
        case CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_CONTENT_ENCODING:
            return upstream("\(name) does not answer with HTTP: check the provider's URL", retry: .never)
        case CURLE_OPERATION_TIMEDOUT:
            return timeout("no connection to \(name) in time", detail: detail)
        case CURLE_OUT_OF_MEMORY:
            return AppError(.unavailable, "out of memory while calling \(name)", retry: soon)
        default:
            return upstream("the call to \(name) failed: \(detail)", retry: .never)
        }
    }

    static func keptConnectionClosed(_ target: RequestTarget) -> AppError {
        AppError(
            .upstream, "\(target.name) closed a kept connection without an answer", source: .upstream, retry: .now,
            cause: KeptConnectionClosed())
    }

    static func timeout(_ message: String, detail: String? = nil) -> AppError {
        AppError(.timeout, message, detail: detail, source: .upstream, retry: .after(.seconds(1)))
    }

    static func refusedAddress(_ address: String, _ reason: String, _ target: RequestTarget) -> AppError {
        AppError(
            .forbidden,
            "\(target.name) has the \(reason) address \(address), which this call may not reach: allow private addresses for it if that is meant",
            source: .server)
    }

    static var shutDown: AppError {
        AppError(.unavailable, "the server is shutting down; no call to another server can be made", retry: .after(.seconds(5)))
    }
}

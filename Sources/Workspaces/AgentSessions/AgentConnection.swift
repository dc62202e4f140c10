import AgentProtocol
import Core
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOHPACK

/// One connected agent. The agent dialled; this side asks.
///
/// Errors are `AppError`. When the connection dies, what is under way fails with `.unavailable` and `retry: .now`: get the next
/// connection and ask again with the same call id, which never does a thing twice. A cancelled task cancels its request; an
/// effect that was already begun goes on and is found under its call id.
package final class AgentConnection: Sendable {
    package let workspace: WorkspaceID
    /// Random per start of the sandbox.
    package let sandbox: String
    package let agentVersion: String
    private let tunnel: Tunnel
    private let isClosing = NIOLockedValueBox(false)

    init(workspace: WorkspaceID, hello: Hello, tunnel: Tunnel) {
        (self.workspace, sandbox, agentVersion, self.tunnel) = (workspace, hello.sandbox, hello.agent, tunnel)
    }

    var channel: any Channel { tunnel.channel }

    package var isOpen: Bool { tunnel.channel.isActive && !isClosing.withLockedValue { $0 } }

    /// Returns when the connection ended.
    package func waitUntilClosed() async { await tunnel.waitUntilClosed() }

    /// "Going away, reconnect."
    package func close() {
        isClosing.withLockedValue { $0 = true }
        tunnel.goAway()
    }

    // MARK: Asking

    struct Request: Sendable {
        var method: String
        var target: RequestTarget
        /// How long the whole answer may take.
        var patience: Duration = .seconds(30)
        /// Words for error messages: "reading 'a.txt'".
        var what: String
    }

    /// Asks, and lends the answer's head and body. The stream is reset when `body` throws or the patience is over.
    ///
    /// - Parameters:
    ///   - body: what is there to be sent.
    ///   - send: sends the body piece by piece instead, and its end.
    func ask<Value>(
        _ request: Request, body: ByteBuffer? = nil, send: ((TunnelStream) async throws -> Void)? = nil,
        _ read: (TunnelStream, HPACKHeaders) async throws -> Value
    ) async throws -> Value {
        guard isOpen else { throw lost(request, nil) }
        let isLate = NIOLockedValueBox(false)
        do {
            let head: HPACKHeaders = [
                ":method": request.method, ":scheme": "http", ":authority": "agent", ":path": request.target.text,
            ]
            let stream = try await tunnel.open(head, body: body, end: send == nil)
            let timer = stream.channel.eventLoop.scheduleTask(in: TimeAmount(request.patience)) {
                isLate.withLockedValue { $0 = true }
                stream.reset()
            }
            defer { timer.cancel() }
            do {
                try await send?(stream)
                let answer = try await stream.receiveHead()
                guard let status = answer.first(name: ":status").flatMap({ Int($0) }), (200..<300).contains(status) else {
                    throw try WireJSON.decode(AgentFailure.self, from: await stream.collect(upTo: 1 << 20))
                }
                return try await read(stream, answer)
            } catch {
                stream.reset()
                throw error
            }
        } catch let error as AppError {
            throw error
        } catch let failure as AgentFailure {
            throw AppError(failure, workspace: workspace)
        } catch {
            if Task.isCancelled { throw CancellationError() }
            if isLate.withLockedValue({ $0 }) {
                throw AppError(
                    .timeout, "The agent of workspace \(workspace) took longer than \(request.patience) for \(request.what).",
                    source: .server, retry: .now)
            }
            if let error = error as? DecodingError { throw unreadable(request, error) }
            if case TunnelError.bodyTooLarge(let limit) = error {
                throw AppError(.tooLarge, "The agent's answer for \(request.what) has more than \(limit) bytes. Ask for less.")
            }
            throw lost(request, error)
        }
    }

    /// Asks with a JSON body or none, for a JSON answer.
    func ask<Answer: Decodable>(
        _ type: Answer.Type, _ request: Request, json body: (any Encodable)? = nil, upTo limit: Int = 8 << 20
    ) async throws -> Answer {
        let bytes = try body.map { try WireJSON.encode($0) }
        return try await ask(request, body: bytes) { stream, _ in
            try WireJSON.decode(type, from: await stream.collect(upTo: limit))
        }
    }

    private func lost(_ request: Request, _ cause: (any Error)?) -> AppError {
        AppError(
            .unavailable,
            "The connection to the agent of workspace \(workspace) ended during \(request.what). It reconnects by itself.",
            detail: cause.map { "\($0)" }, retry: .now, cause: cause)
    }

    func unreadable(_ request: Request, _ cause: any Error) -> AppError {
        AppError(
            .internal, "The agent of workspace \(workspace) gave an unreadable answer for \(request.what).", detail: "\(cause)",
            cause: cause)
    }
}

extension AppError {
    /// The agent's own words, under the code that callers know. The cause stays an `AgentFailure`.
    package init(_ failure: AgentFailure, workspace: WorkspaceID) {
        let (code, field, retry): (Code, String?, Retry) =
            switch failure.code {
            case .badRequest: (.badRequest, nil, .never)
            case .notFound: (.notFound, nil, .never)
            case .denied: (.forbidden, nil, .never)
            case .staleFence: (.conflict, "fence", .never)
            case .callReused: (.conflict, "call", .never)
            case .unknownEffect: (.conflict, nil, .never)
            case .tooLarge: (.tooLarge, nil, .never)
            case .noSpace: (.unavailable, nil, .after(.seconds(5)))
            case .busy: (.unavailable, nil, .after(.milliseconds(200)))
            case .timeout: (.timeout, nil, .now)
            case .internal: (.internal, nil, .never)
            }
        self.init(
            code, failure.message, field: field, detail: "agent of workspace \(workspace): \(failure.code.rawValue)", retry: retry,
            cause: failure)
    }
}

import Core
import Foundation
import HTTPTransport
import ModelAPI
import NIOConcurrencyHelpers

/// A client's session at our endpoint, as far as this process has it: its own sessions with servers, and its calls under way.
package final class ToolSession: Sendable {
    /// Without one, for requests that name no session.
    package let id: UUID?
    let user: UserID
    package let version: String
    let client: String

    private struct State {
        var upstreams: [UUID: UpstreamSession] = [:]
        var calls: [MCPID: Task<Void, Never>] = [:]
        var usedAt = ContinuousClock.now
        var isClosed = false
    }

    private let state = NIOLockedValueBox(State())

    init(id: UUID?, user: UserID, version: String, client: String) {
        self.id = id
        self.user = user
        self.version = version
        self.client = client
    }

    /// Its session with a server. One of an earlier URL or credential is closed.
    func upstream(_ access: ToolServerStore.Access, _ transport: HTTPTransport) -> UpstreamSession {
        let (session, stale) = state.withLockedValue { state -> (UpstreamSession, UpstreamSession?) in
            let known = state.upstreams[access.server.id]
            if let known, known.access.version == access.version {
                known.renew(access)
                return (known, nil)
            }
            let fresh = UpstreamSession(access, transport: transport)
            state.upstreams[access.server.id] = fresh
            return (fresh, known)
        }
        // Nobody waits for it: bounded, and without effect here.
        if let stale { Task { await stale.close() } }
        return session
    }

    // MARK: Calls under way

    /// - Throws: `MCPError` when a call of this id is under way, and what `start` throws.
    func begin(_ id: MCPID, _ start: () throws -> Task<Void, Never>) throws {
        try state.withLockedValue { state in
            state.usedAt = .now
            guard state.calls[id] == nil, !state.isClosed else {
                throw MCPError(MCPError.invalidRequest, "A call with the id \(id.json) is under way in this session.")
            }
            // In the lock: the task that ends at once must find itself here.
            state.calls[id] = try start()
        }
    }

    func ended(_ id: MCPID) {
        state.withLockedValue { state in
            state.calls[id] = nil
            state.usedAt = .now
        }
    }

    func cancel(_ id: MCPID) { state.withLockedValue { $0.calls[id] }?.cancel() }

    func touch() { state.withLockedValue { $0.usedAt = .now } }

    /// Nil while it has calls under way.
    var idleSince: ContinuousClock.Instant? { state.withLockedValue { $0.calls.isEmpty ? $0.usedAt : nil } }

    /// Cancels its calls and says good-bye to the servers.
    func close() async {
        let (upstreams, calls) = state.withLockedValue { state in
            state.isClosed = true
            defer { state.upstreams = [:] }
            return (Array(state.upstreams.values), Array(state.calls.values))
        }
        for call in calls { call.cancel() }
        await withDiscardingTaskGroup { group in
            for upstream in upstreams { group.addTask { await upstream.close() } }
        }
    }
}

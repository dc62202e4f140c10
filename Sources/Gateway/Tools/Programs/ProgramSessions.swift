import Core
import Foundation
import Logging
import NIOConcurrencyHelpers

/// The programs of this process, one for each registered server that is one.
final class ProgramSessions: Sendable {
    /// One that nobody uses is ended.
    static let longestIdle = Duration.seconds(900)

    private let starter: (any ToolProgramStarter)?
    private let logger: Logger
    private let state = NIOLockedValueBox((sessions: [UUID: ProgramSession](), isClosed: false))

    init(_ starter: (any ToolProgramStarter)?, logger: Logger) {
        self.starter = starter
        self.logger = logger
    }

    /// - Throws: `unavailable` for a program where none can be isolated.
    func check(_ change: ToolServerService.Change) throws {
        if change.command != nil, starter == nil { throw Self.cannot("A server of tools that is a program") }
    }

    private static func cannot(_ who: String) -> AppError {
        AppError(
            .unavailable,
            "\(who) runs in a sandbox alone, and this server can make none: install bubblewrap on its host (docs/sandbox.md).",
            field: "command")
    }

    /// - Throws: `unavailable` where programs cannot be isolated.
    func session(_ access: ToolServerStore.Access) throws -> ProgramSession {
        guard let starter else {
            throw Self.cannot("The MCP server '\(access.server.name)' is a program, which")
        }
        let (session, stale) = try state.withLockedValue { state -> (ProgramSession, ProgramSession?) in
            if state.isClosed {
                throw AppError(.unavailable, "The server is shutting down; try again.", retry: .after(.seconds(1)))
            }
            let known = state.sessions[access.server.id]
            if let known, known.version == access.version { return (known, nil) }
            let fresh = ProgramSession(access, starter, logger: logger)
            state.sessions[access.server.id] = fresh
            return (fresh, known)
        }
        // Nobody waits for it: bounded, and of no effect on the one that takes its place.
        if let stale { Task { await stale.close() } }
        return session
    }

    /// The server was changed, or is gone: its program must not go on with what it was given.
    func end(_ server: UUID) {
        let session = state.withLockedValue { $0.sessions.removeValue(forKey: server) }
        // Nobody waits for it, as above.
        if let session { Task { await session.close() } }
    }

    /// Ends those that nobody uses, and those of servers that were changed, disabled or removed at another replica.
    func sweep(_ store: ToolServerStore) async {
        // Those that run before the servers are read: what is begun meanwhile may be newer than what is read.
        let before = state.withLockedValue { $0.sessions }
        if before.isEmpty { return }
        let current = try? await store.programs()
        let now = ContinuousClock.now
        let over = before.filter { id, session in
            if let current, current[id] != session.updatedAt { return true }
            return session.idleSince.map { $0.duration(to: now) > Self.longestIdle } ?? false
        }
        state.withLockedValue { state in
            for (id, session) in over where state.sessions[id] === session { state.sessions[id] = nil }
        }
        await withDiscardingTaskGroup { group in for session in over.values { group.addTask { await session.close() } } }
    }

    func closeAll() async {
        let all = state.withLockedValue { state in
            state.isClosed = true
            defer { state.sessions = [:] }
            return Array(state.sessions.values)
        }
        await withDiscardingTaskGroup { group in for session in all { group.addTask { await session.close() } } }
    }
}

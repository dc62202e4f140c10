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

    func sweep() async {
        let now = ContinuousClock.now
        let idle = state.withLockedValue { state in
            let idle = state.sessions.filter { $0.value.idleSince.map { $0.duration(to: now) > Self.longestIdle } ?? false }
            for id in idle.keys { state.sessions[id] = nil }
            return Array(idle.values)
        }
        for session in idle { await session.close() }
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

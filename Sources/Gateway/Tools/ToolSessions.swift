import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import Postgres

/// All sessions of clients at our endpoint. What identifies one is a row, so that any replica, and the same one after a restart, takes
/// it up; what it has open is memory of one process.
final class ToolSessions: Sendable {
    static let mostInMemory = 2000
    static let mostOfUser = 100
    /// In memory; the row lives a day longer than its last use.
    static let longestIdle = Duration.seconds(1800)

    private let pool: PostgresPool
    private let live = NIOLockedValueBox<[UUID: ToolSession]>([:])
    /// Of users whose models call tools, by the program that they use.
    private let models = NIOLockedValueBox<[ModelKey: ToolSession]>([:])

    private struct ModelKey: Hashable {
        var user: UserID
        var client: String
    }

    init(pool: PostgresPool) { self.pool = pool }

    /// - Parameter client: the program's own name and version, as it tells them.
    func create(_ principal: Principal, version: String, client: String) async throws -> ToolSession {
        // 122 random bits, and of use to this user alone.
        let id = UUID()
        _ = try await pool.withTransaction { connection in
            try await connection.pipeline([
                """
                DELETE FROM ai_mcp_sessions WHERE user_id = \(principal.user) AND (seen_at < now() - interval '1 day' OR id IN (
                    SELECT id FROM ai_mcp_sessions WHERE user_id = \(principal.user)
                    ORDER BY seen_at DESC OFFSET \(Self.mostOfUser - 1)))
                """,
                """
                INSERT INTO ai_mcp_sessions (id, organization_id, user_id, version, client)
                VALUES (\(id), \(principal.organization), \(principal.user), \(version), \(client))
                """,
            ])
        }
        let session = ToolSession(id: id, user: principal.user, version: version, client: client)
        await keep(session, as: id)
        return session
    }

    /// In which the gateway itself calls tools, for the models of one user's program.
    func ofModels(_ principal: Principal, client: String) async -> ToolSession {
        let key = ModelKey(user: principal.user, client: client)
        let (session, evicted) = models.withLockedValue { models -> (ToolSession, ToolSession?) in
            if let known = models[key] {
                known.touch()
                return (known, nil)
            }
            var evicted: ToolSession?
            if models.count >= Self.mostInMemory {
                let oldest = models.min { ($0.value.idleSince ?? .now) < ($1.value.idleSince ?? .now) }
                evicted = oldest.flatMap { models.removeValue(forKey: $0.key) }
            }
            let fresh = ToolSession(id: nil, user: principal.user, version: MCP.newestVersion, client: client)
            models[key] = fresh
            return (fresh, evicted)
        }
        await evicted?.close()
        return session
    }

    /// Nil when there is none of this id for the principal: the client begins a new one.
    func find(_ id: UUID, _ principal: Principal) async throws -> ToolSession? {
        if let known = live.withLockedValue({ $0[id] }) {
            guard known.user == principal.user else { return nil }
            known.touch()
            return known
        }
        let row = try await pool.query(
            """
            UPDATE ai_mcp_sessions SET seen_at = now()
            WHERE id = \(id) AND user_id = \(principal.user) AND organization_id = \(principal.organization)
            RETURNING version, client
            """
        ).first
        guard let row else { return nil }
        let fresh = ToolSession(id: id, user: principal.user, version: try row["version"], client: try row["client"])
        let session = live.withLockedValue { live in
            if let other = live[id] { return other }
            live[id] = fresh
            return fresh
        }
        await makeRoom()
        return session
    }

    /// - Returns: false when there is none.
    func end(_ id: UUID, _ principal: Principal) async throws -> Bool {
        let count = try await pool.execute("DELETE FROM ai_mcp_sessions WHERE id = \(id) AND user_id = \(principal.user)")
        let session = live.withLockedValue { live -> ToolSession? in
            guard live[id]?.user == principal.user else { return nil }
            return live.removeValue(forKey: id)
        }
        await session?.close()
        return count == 1
    }

    /// Closes what was not used for half an hour, and notes what is in use.
    func sweep() async {
        let now = ContinuousClock.now
        let (idle, used) = live.withLockedValue { live in
            let idle = live.filter { $0.value.idleSince.map { $0.duration(to: now) > Self.longestIdle } ?? false }
            for id in idle.keys { live[id] = nil }
            return (Array(idle.values), Array(live.keys))
        }
        let unused = models.withLockedValue { models in
            let idle = models.filter { $0.value.idleSince.map { $0.duration(to: now) > Self.longestIdle } ?? false }
            for key in idle.keys { models[key] = nil }
            return Array(idle.values)
        }
        for session in idle + unused { await session.close() }
        if !used.isEmpty {
            // A database that is away does no harm: sessions are noted again at the next turn.
            _ = try? await pool.execute("UPDATE ai_mcp_sessions SET seen_at = now() WHERE id = ANY(\(used))")
        }
    }

    func closeAll() async {
        let all =
            live.withLockedValue { live in
                defer { live = [:] }
                return Array(live.values)
            }
            + models.withLockedValue { models in
                defer { models = [:] }
                return Array(models.values)
            }
        await withDiscardingTaskGroup { group in
            for session in all { group.addTask { await session.close() } }
        }
    }

    private func keep(_ session: ToolSession, as id: UUID) async {
        live.withLockedValue { $0[id] = session }
        await makeRoom()
    }

    /// The one that was idle longest gives way; its client notices nothing but that servers see a new session.
    private func makeRoom() async {
        let evicted = live.withLockedValue { live -> ToolSession? in
            guard live.count > Self.mostInMemory else { return nil }
            let idle = live.compactMap { id, session in session.idleSince.map { (id, $0) } }
            guard let oldest = idle.min(by: { $0.1 < $1.1 }) else { return nil }
            return live.removeValue(forKey: oldest.0)
        }
        await evicted?.close()
    }
}

import Core
import Crypto
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import Postgres

/// What clients never saw of turns of the model, until their next request. In this process's memory, and sealed in the database for the
/// other ones where content is kept.
final class HiddenTurns: Sendable {
    static let most = 2000
    static let mostBytes = 64 << 20
    /// One that is longer is forgotten: the model then reads of the turn what the client saw.
    static let largest = 4 << 20
    /// Of sealed turns that are read for one request.
    static let mostRead = 16 << 20

    private struct Place: Hashable {
        var user: UserID
        var key: Data
    }

    private struct Memory {
        var turns: [Place: (turn: HiddenTurn, bytes: Int)] = [:]
        var order: [Place] = []
        var bytes = 0

        mutating func keep(_ turn: HiddenTurn, _ size: Int, at place: Place) {
            if let former = turns[place] { bytes -= former.bytes } else { order.append(place) }
            turns[place] = (turn, size)
            bytes += size
            while order.count > HiddenTurns.most || bytes > HiddenTurns.mostBytes, let oldest = order.first {
                order.removeFirst()
                bytes -= turns.removeValue(forKey: oldest)?.bytes ?? 0
            }
        }
    }

    private let pool: PostgresPool
    private let keys: KeyRing
    private let settings: SettingsCache
    private let memory = NIOLockedValueBox(Memory())

    init(pool: PostgresPool, keys: KeyRing, settings: SettingsCache) {
        self.pool = pool
        self.keys = keys
        self.settings = settings
    }

    /// Returns when it is kept. A database that does not take it keeps nobody waiting: this process knows the turn.
    func keep(_ turn: HiddenTurn, _ names: [String], _ principal: Principal) async {
        guard let json = try? JSONEncoder().encode(turn), json.count <= Self.largest else { return }
        let places = names.map { Self.hash($0) }
        memory.withLockedValue { memory in
            for key in places { memory.keep(turn, json.count, at: Place(user: principal.user, key: key)) }
        }
        guard let current = try? settings.current(), current.contentMode(of: principal.organization) == .full,
            !current.policies.set(of: principal.organization).keepsLess
        else { return }
        for key in places {
            let id = UUID()
            guard let sealed = try? keys.seal(json, at: ToolServerStore.place("ai_hidden_turns", id)) else { return }
            _ = try? await pool.execute(
                """
                INSERT INTO ai_hidden_turns (id, organization_id, user_id, key, sealed)
                VALUES (\(id), \(principal.organization), \(principal.user), \(key), \(sealed))
                ON CONFLICT (organization_id, user_id, key)
                DO UPDATE SET id = excluded.id, sealed = excluded.sealed, created_at = now()
                """)
        }
    }

    /// Those that are known, by their names; of those that only the database has, the newest.
    func find(_ names: [String], _ principal: Principal) async -> [String: HiddenTurn] {
        if names.isEmpty { return [:] }
        var found: [String: HiddenTurn] = [:]
        var missing: [Data: String] = [:]
        memory.withLockedValue { memory in
            for name in names {
                let key = Self.hash(name)
                if let known = memory.turns[Place(user: principal.user, key: key)] {
                    found[name] = known.turn
                } else {
                    missing[key] = name
                }
            }
        }
        if missing.isEmpty { return found }
        let rows =
            (try? await pool.query(
                """
                SELECT id, key, sealed FROM (
                    SELECT id, key, sealed, sum(octet_length(sealed)) OVER (ORDER BY created_at DESC, id) AS bytes
                    FROM ai_hidden_turns
                    WHERE organization_id = \(principal.organization) AND user_id = \(principal.user)
                      AND key = ANY(\(Array(missing.keys))) AND created_at > now() - interval '1 day'
                ) turns WHERE bytes <= \(Self.mostRead)
                """)) ?? []
        for row in rows {
            guard let id = try? row["id", as: UUID.self], let key = try? row["key", as: Data.self], let name = missing[key],
                let sealed = try? row["sealed", as: Data.self],
                let json = try? keys.open(sealed, at: ToolServerStore.place("ai_hidden_turns", id)),
                let turn = try? JSONDecoder().decode(HiddenTurn.self, from: json)
            else { continue }
            found[name] = turn
        }
        return found
    }

    func sweep() async { _ = try? await pool.execute("DELETE FROM ai_hidden_turns WHERE created_at < now() - interval '1 day'") }

    private static func hash(_ name: String) -> Data { Data(SHA256.hash(data: Data(name.utf8))) }
}

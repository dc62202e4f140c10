import Core
import Foundation
import Postgres

/// The counts of log-in attempts, shared by all servers of a database, so that more servers do not mean more guesses.
struct LoginLimitStore: Sendable {
    let pool: PostgresPool

    func attempt(username: String, address: String?) async throws -> LoginLimits.Verdict {
        try await change(username, address) { $0.attempt(username: username, address: address, at: $1) }
    }

    func succeeded(username: String, address: String?) async throws {
        try await change(username, address) { $0.succeeded(username: username, address: address, at: $1) }
    }

    /// Reads the buckets, applies the rule, writes what it changed. Attempts at the same address, name or both wait for each other.
    private func change<Value: Sendable>(
        _ username: String, _ address: String?, _ rule: @Sendable (inout LoginLimits, ContinuousClock.Instant) -> Value
    ) async throws -> Value {
        let keys = LoginLimits.keys(username: username, address: address)
        let names = keys.map(Self.text)
        // These two cover the pair; the count of reports is shared by all, and nobody waits for its sake.
        let locked = keys.filter { $0.kind == .address || $0.kind == .username }.map(Self.text)
        return try await pool.withTransaction { connection in
            // Whether a row is there or not; in order, so that two attempts cannot wait for each other.
            let results = try await connection.pipeline([
                "SELECT pg_advisory_xact_lock(hashtextextended(k, 0)) FROM (SELECT unnest(\(locked)) AS k ORDER BY k) AS keys",
                """
                SELECT key, tokens, extract(epoch FROM clock_timestamp() - at)::double precision AS age FROM login_attempts
                WHERE key = ANY(\(names)) AND expires_at > clock_timestamp()
                """,
            ])
            let now = ContinuousClock.now
            var buckets: [LoginLimits.Key: AttemptLimiter.Bucket] = [:]
            for row in results[1] {
                let name: String = try row["key"]
                guard let key = keys.first(where: { Self.text($0) == name }) else { continue }
                buckets[key] = .init(tokens: try row["tokens"], at: now - .seconds(try row["age", as: Double.self]))
            }
            var limits = LoginLimits(buckets)
            let value = rule(&limits, now)
            let written = limits.changed.compactMap { key in limits.buckets[key].map { (key, $0.tokens) } }
            try await connection.pipeline([
                """
                INSERT INTO login_attempts (key, tokens, at, expires_at)
                SELECT key, tokens, clock_timestamp(), clock_timestamp() + seconds * interval '1 second'
                FROM unnest(\(written.map { Self.text($0.0) }), \(written.map(\.1)),
                            \(written.map { $0.0.kind.limiter.memory.inSeconds })) AS t (key, tokens, seconds)
                ON CONFLICT (key) DO UPDATE SET tokens = excluded.tokens, at = excluded.at, expires_at = excluded.expires_at
                """,
                // Each attempt removes more than it can make.
                """
                DELETE FROM login_attempts WHERE key IN
                    (SELECT key FROM login_attempts WHERE expires_at < clock_timestamp() LIMIT 20 FOR UPDATE SKIP LOCKED)
                """,
            ])
            return value
        }
    }

    private static func text(_ key: LoginLimits.Key) -> String { "\(key.kind.rawValue) \(key.name)" }
}

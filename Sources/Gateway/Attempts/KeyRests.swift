import Core
import Logging
import Postgres

/// Tells the other replicas which provider keys rest, and hears it from them, once a second.
struct KeyRests: Sendable {
    let pool: PostgresPool
    let health: TargetHealth
    let logger: Logger

    func exchange() async {
        let news = health.takeNews()
        do {
            let names = Array(news.keys)
            if !names.isEmpty {
                try await pool.execute(
                    """
                    INSERT INTO ai_key_rests (organization_id, provider, hint, until)
                    SELECT organization_id, provider, hint, now() + milliseconds * interval '1 millisecond'
                    FROM unnest(\(names.map(\.organization.uuid)), \(names.map(\.provider)), \(names.map(\.hint)),
                                \(names.map { Int64((news[$0] ?? .zero) / .milliseconds(1)) }))
                         AS t (organization_id, provider, hint, milliseconds)
                    ON CONFLICT (organization_id, provider, hint) DO UPDATE SET until = greatest(ai_key_rests.until, excluded.until)
                    """)
                for name in names {
                    logger.warning(
                        "a provider's key rests",
                        metadata: ["provider": "\(name.provider)", "key": "\(name.hint)", "for": "\(news[name] ?? .zero)"])
                }
            }
            let rows = try await pool.query(
                """
                SELECT organization_id, provider, hint, (extract(epoch FROM until - now()) * 1000)::bigint AS left
                FROM ai_key_rests WHERE until > now()
                """)
            var rests: [TargetHealth.KeyName: Duration] = [:]
            for row in rows {
                let name = TargetHealth.KeyName(
                    organization: try row["organization_id"], provider: try row["provider"], hint: try row["hint"])
                rests[name] = .milliseconds(try row["left", as: Int64.self])
            }
            health.learn(rests, at: .now)
        } catch {
            // This replica goes on with what it knows itself.
            for (name, time) in news { health.keep(name, time) }
        }
    }
}

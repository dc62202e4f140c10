import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

/// `kill -9` of a server with many calls under way, so that it hits them at every point; tasks have `KillTests`.
@Suite(.serialized, .timeLimit(.minutes(10))) struct KillUnderLoadTests {
    private static let cap = NanoDollars(300_000_000)

    /// How far the calls are that the signal hits.
    private enum Moment: CaseIterable {
        case firstHold, firstAnswer, midStream, manyAnswers

        func isReached(_ pool: PostgresPool, _ load: CallLoad, since: Int) async throws -> Bool {
            switch self {
            case .firstHold: try await !pool.query("SELECT 1 FROM ai_holds LIMIT 1").isEmpty
            case .firstAnswer: load.answered.count > since
            case .midStream:
                try await !pool.query("SELECT 1 FROM ai_interceptions WHERE status = 'open' AND streamed LIMIT 1").isEmpty
            case .manyAnswers: load.answered.count > since + 25
            }
        }
    }

    @Test func `whenever the server is killed, what clients were answered is on record and paid once, and nothing stays held`()
        async throws
    {
        try await RawServer.with(ScriptedProvider.script()) { upstream in
            try await TestDatabase.with { database in
                let pool = database.pool()
                let token = try await People.token(pool, "ada", roles: [.owner])
                try await pool.execute(
                    "INSERT INTO ai_budget_caps (user_id, organization_id, cap) SELECT id, organization_id, \(Self.cap) FROM users")
                let keys = KeyRing.generatedText(id: "k")
                let environment = ScriptedProvider.environment(upstream).merging(["SLIPWAY_KEYS": keys]) { $1 }
                let watch = try await BudgetWatch(pool)
                var answered: [String] = []
                for moment in Moment.allCases + Moment.allCases {
                    let server = try await ServerProcess.start(database: database.url, environment: environment)
                    try await CallLoad.with(Client(server, token: token)) { load in
                        try await eventually("\(moment)") { try await moment.isReached(pool, load, since: 0) }
                        server.signal(SIGKILL)
                        _ = await server.ended()
                        await load.stop()
                        answered += load.answered
                    }
                    await server.stop()
                }
                let last = try await ServerProcess.start(database: database.url, environment: environment)
                let client = Client(last, token: token)
                try await CallLoad.with(client) { load in
                    try await load.more(10)
                    await load.stop()
                    answered += load.answered
                }
                #expect(answered.count > 60)
                try await Books(pool: pool).check()
                try await Books(pool: pool).verify(client)
                // An answer may have been whole a moment before its booking: that call is booked as unknown, at its hold.
                let booked = Set(
                    try await pool.query(
                        """
                        SELECT i.id::text AS id FROM ai_interceptions i JOIN ai_ledger l ON l.interception_id = i.id
                        WHERE i.status = 'completed' AND l.state = 'final' OR i.status = 'unknown' AND l.state = 'unknown' AND l.cost = l.hold
                        """
                    ).map { try $0["id", as: String.self] })
                #expect(answered.filter { !booked.contains($0.lowercased()) } == [])
                #expect(try await watch.highest() <= Self.cap)
                await last.stop()
                await pool.close()
            }
        }
    }
}

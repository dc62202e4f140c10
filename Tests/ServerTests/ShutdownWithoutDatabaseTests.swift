import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

/// The end of a server whose database is not there any more.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ShutdownWithoutDatabaseTests {
    enum Fault: String, CaseIterable, Sendable { case hangs, isDead }

    @Test(arguments: Fault.allCases)
    func `it ends within its bounds, says what it could not write, and the next one books it`(fault: Fault) async throws {
        let release = Signal()
        try await OwnPostgres.with { postgres in
            try await RawServer.with(ScriptedProvider.script(release)) { upstream in
                let pool = postgres.pool()
                try await pool.migrated()
                let token = try await People.token(pool, "ada", roles: [.owner])
                let environment = ScriptedProvider.environment(upstream)
                let first = try await ServerProcess.start(database: postgres.url, environment: environment)
                let stream = try await OpenStream.call(Client(first, token: token), "waits")
                #expect(stream.status == 200)
                switch fault {
                case .hangs: postgres.freeze()
                case .isDead: postgres.kill9()
                }
                // The answer's record was on disk before its first byte was released, so all of it may pass.
                release.fire()
                #expect(await stream.text == ScriptedProvider.whole)

                let begin = ContinuousClock.now
                first.signal(SIGTERM)
                #expect(await first.ended() == 0, "\(first.logText.suffix(3000))")
                let took = begin.duration(to: .now)
                #expect(took < .seconds(28), "\(took)\n\(first.logText.suffix(3000))")
                #expect(first.logText.contains("calls that are not booked are booked by the next server"), "\(first.logText)")
                #expect(first.logText.contains("unbooked_calls=1"), "\(first.logText)")

                switch fault {
                case .hangs: postgres.thaw()
                case .isDead: try await postgres.start()
                }
                let second = try await ServerProcess.start(
                    database: postgres.url, directory: first.directory, environment: environment)
                try await Books(pool: pool).settled()
                let row = try await pool.query("SELECT state, cost = hold AS is_whole FROM ai_ledger")
                // A database that only hung may have taken the booking after all.
                #expect(try row.count == 1 && (row[0]["state", as: String.self] == "unknown" || fault == .hangs))
                try await Books(pool: pool).check()
                try await Books(pool: pool).verify(Client(second, token: token))
                await pool.close()
                await second.stop()
            }
        }
    }

    @Test func `a start without its database is one sentence, and SIGTERM ends the waiting for it`() async throws {
        try await OwnPostgres.with { postgres in
            let url = postgres.url
            postgres.kill9()
            let server = try ServerProcess.launch(database: url)
            #expect(await server.ended() == 1)
            #expect(server.logText.contains("The database cannot be reached"), "\(server.logText)")
            try await postgres.start()
            postgres.freeze()
            let waiting = try ServerProcess.launch(database: url, arguments: ["--log-level", "debug"])
            try await waiting.waitForLine(containing: "Connecting to the database")
            let begin = ContinuousClock.now
            waiting.signal(SIGTERM)
            #expect(await waiting.ended() == 0, "\(waiting.logText)")
            #expect(begin.duration(to: .now) < .seconds(20))
            await server.stop()
        }
    }
}

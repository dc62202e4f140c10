import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

/// The end of a server with everything under way at once: client streams, a running task, a connected agent, viewers.
@Suite(.serialized, .timeLimit(.minutes(5)), .enabled(if: Delegation.isBuilt, "run: make tools agent"))
struct ShutdownUnderLoadTests {
    private static let grace = Duration.seconds(2)

    @Test func `streams, a running task and a connected agent end in order, nothing is missing, and the task goes on`() async throws
    {
        let release = Signal()
        try await TestDatabase.with { database in
            try await RawServer.with(ScriptedProvider.script(release)) { upstream in
                let delegation = try await Delegation(database)
                let first = try await delegation.start(
                    ["--grace", "2s", "--log-level", "debug"], environment: ScriptedProvider.environment(upstream))
                let client = delegation.client(first)
                let task = try await delegation.delegate("demo: slow steps", to: first)
                // Its command runs, so its agent is connected.
                try await delegation.follow(task, on: first) { events, _ in events.filter { $0.kind == "tool_call" }.count >= 2 }
                let ends = try await OpenStream.call(client, "waits")
                let endless = try await OpenStream.call(client, "endless")
                let viewer = try await OpenStream.open(client, "GET", "\(APIPaths.tasks)/\(task.id)/stream")
                #expect(ends.status == 200 && endless.status == 200 && viewer.status == 200)

                let begin = ContinuousClock.now
                first.signal(SIGTERM)
                try await first.waitForLine(containing: "shutting down in order")
                release.fire()
                #expect(await first.ended() == 0)
                let took = begin.duration(to: .now)
                // The grace is used up by the stream that never ends; ten seconds more are lost when sessions are waited for first.
                #expect(took >= Self.grace && took < Self.grace + .seconds(5), "\(took)\n\(first.logText.suffix(3000))")
                checkPhases(first.logText)

                #expect(await ends.text == ScriptedProvider.whole)
                let cut = await endless.text
                #expect(
                    cut.hasPrefix(ScriptedProvider.whole.prefix(100)) && cut.contains("\n\nevent: error\ndata: {\"type\":\"error\"")
                )
                #expect(cut.contains("shutting down") && cut.hasSuffix("\n\n"), "\(cut)")
                #expect(await viewer.text.hasSuffix("event: going_away\ndata: reconnect\n\n"))

                let pool = database.pool()
                // Before any other server had a chance to mend it.
                let open = try await pool.query(
                    "SELECT (SELECT count(*) FROM ai_holds) AS holds, (SELECT count(*) FROM ai_interceptions WHERE status = 'open') AS open"
                )[0]
                #expect(try open["holds", as: Int64.self] == 0 && open["open", as: Int64.self] == 0)
                try await Books(pool: pool).check(answered: [ends.interception ?? "none"])

                let second = try await delegation.start()
                try await delegation.expectCompleted(task, on: second, lines: Delegation.slowSteps)
                try await Books(pool: pool).check()
                try await Books(pool: pool).verify(delegation.client(second))
                await pool.close()
                try await delegation.cleanUp(task, second)
            }
        }
    }

    @Test func `without an open answer a running task, its agent and its viewers do not hold the server`() async throws {
        try await TestDatabase.with { database in
            let delegation = try await Delegation(database)
            let first = try await delegation.start(["--log-level", "debug"])
            let task = try await delegation.delegate("demo: slow steps", to: first)
            try await delegation.follow(task, on: first) { events, _ in events.filter { $0.kind == "tool_call" }.count >= 2 }
            let viewer = try await OpenStream.open(delegation.client(first), "GET", "\(APIPaths.tasks)/\(task.id)/stream")
            first.signal(SIGTERM)
            #expect(await first.ended() == 0)
            checkPhases(first.logText)
            // The grace is 20 s, and nothing had to use it. A third of a second is the rule; this machine does other things too.
            let closed = first.logText.split(separator: "\n").first { $0.contains("Closed in ") }
            let time = closed.flatMap { Int($0.split(separator: " ").suffix(2).first ?? "") }
            #expect(try #require(time) < 3000, "\(first.logText.suffix(3000))")
            #expect(await viewer.text.contains("event: going_away"))
            let second = try await delegation.start()
            try await delegation.expectCompleted(task, on: second, lines: Delegation.slowSteps)
            try await delegation.cleanUp(task, second)
        }
    }

    /// All phases were gone through in the plan's order, and none had to be left behind.
    private func checkPhases(_ log: String, _ location: SourceLocation = #_sourceLocation) {
        let phases = log.components(separatedBy: "Shutdown phase '").dropFirst().map { text in String(text.prefix { $0 != "'" }) }
        let planned = ["drain", "loop and gateway", "sessions", "provisioners", "background", "storage"]
        #expect(phases == planned, "\(log.suffix(3000))", sourceLocation: location)
        #expect(!log.contains("did not end within"), "\(log.suffix(3000))", sourceLocation: location)
    }
}

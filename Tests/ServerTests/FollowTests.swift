import API
import Foundation
import Postgres
import TestSupport
import Testing

/// `slipway task follow` while database and server go away and come back.
@Suite(.serialized, .timeLimit(.minutes(3)), .enabled(if: Delegation.isBuilt, "run: make tools agent"))
struct FollowTests {
    @Test func `a transcript goes on after an outage and a restart, says what it waits for, and shows nothing twice`() async throws
    {
        try await OwnPostgres.with { postgres in
            let pool = postgres.pool()
            try await pool.migrated()
            let delegation = try await Delegation(url: postgres.url, pool)
            await pool.close()
            let first = try await delegation.start()
            let task = try await delegation.delegate("demo: slow steps", to: first)
            let follower = try RunningClient(
                ["task", "follow", task.id, "--output", "json"], url: first.url, token: delegation.token)
            try await follower.wait(for: #""kind":"tool_call""#)

            postgres.kill9()
            try await follower.wait(forNote: "does not answer")
            #expect(follower.notes.contains("Waiting for it, to go on with what comes after event"), "\(follower.notes)")
            try await postgres.start()
            try await follower.wait(forNote: "The server is back.")

            first.signal(SIGKILL)
            _ = await first.ended()
            try await follower.wait(forNote: "does not answer", times: 2)
            // Where the client looks for it.
            let second = try await delegation.start(["--listen", String(first.url.dropFirst("http://".count))])
            try await follower.wait(forNote: "The server is back.", times: 2)

            #expect(await follower.ended() == 0, "\(follower.output)\n\(follower.notes)")
            let events = try follower.output.split(separator: "\n").map {
                try APICoding.decoder().decode(TaskEvent.self, from: Data($0.utf8))
            }
            #expect(events.map(\.sequence) == Array(1...Int64(events.count)))
            #expect(events.last?.kind == "completed")
            try await delegation.cleanUp(task, second)
        }
    }

    @Test func `who never had an answer is told so at once`() async throws {
        let follower = try RunningClient(["task", "follow", "some-task"], url: "http://127.0.0.1:9", token: "slp_0")
        #expect(await follower.ended() == 69)
        #expect(follower.notes.contains("No answer from http://127.0.0.1:9"), "\(follower.notes)")
    }
}

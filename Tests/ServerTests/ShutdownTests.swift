import Foundation
import Testing
import TestSupport

@Suite struct ShutdownTests {
    private static let keys = ["SLIPWAY_KEYS": "k " + String(repeating: "ef", count: 32)]

    /// From the signal to the end of the process, as its parent sees it.
    private func timeToEnd(_ server: ServerProcess, after signal: Int32) async -> (status: Int32, time: Duration) {
        let begin = ContinuousClock.now
        server.signal(signal)
        let status = await server.ended()
        return (status, begin.duration(to: .now))
    }

    /// Other tests run beside this one on the same processors: the quickest of three counts.
    @Test func `an idle server ends within 100 ms of its own time and with status 0`() async throws {
        try await TestDatabase.with { database in
            var times: [Int] = []
            for signal in [SIGTERM, SIGINT, SIGHUP] {
                let server = try await ServerProcess.start(database: database.url, environment: Self.keys)
                // A kept-alive connection must not hold it.
                #expect(try await Client(server).get("/readyz").status == 200)
                let (status, _) = await timeToEnd(server, after: signal)
                #expect(status == 0)
                #expect(!server.logText.contains(" error slipway: "), "\(server.logText)")
                let closed = try #require(server.logText.split(separator: "\n").first { $0.contains("Closed in ") })
                times.append(try #require(Int(closed.split(separator: " ").suffix(2).first ?? "")))
                await server.stop()
            }
            #expect(try #require(times.min()) < 100, "\(times)")
        }
    }

    @Test func `a server that is told to end during its start closes what it had`() async throws {
        let server = try ServerProcess.launch(database: nil)
        // The embedded database is being made now.
        try await eventually("the cluster's folder is made") {
            FileManager.default.fileExists(atPath: server.directory + "/postgres")
        }
        let (status, time) = await timeToEnd(server, after: SIGTERM)
        #expect(status == 0, "\(server.logText)")
        #expect(time < .seconds(20))
        #expect(!server.logText.contains("is ready at"))
        // Nothing of it is left: the next server of this directory gets the lock and the database.
        let next = try await ServerProcess.start(database: nil, directory: server.directory)
        #expect(try await Client(next).get("/readyz").status == 200)
        await next.stop()
    }

    @Test func `in the drain delay it serves on and says 503 at readyz; the third signal ends it at once`() async throws {
        try await TestDatabase.with { database in
            let server = try await ServerProcess.start(database: database.url, arguments: ["--drain-delay", "1h"])
            server.signal(SIGTERM)
            try await server.waitForLine(containing: "shutting down in order")
            try await eventually("it is not ready") {
                let answer = try await Client(server).get("/readyz")
                return answer.status == 503 && answer.text == "not ready: shutting down\n"
            }
            #expect(try await Client(server).get("/healthz").status == 200)
            server.signal(SIGTERM)
            try await server.waitForLine(containing: "again")
            let (status, time) = await timeToEnd(server, after: SIGINT)
            #expect(status == 130)
            #expect(time < .milliseconds(500))
            await server.stop()
        }
    }

    @Test func `after the drain delay it ends in order`() async throws {
        try await TestDatabase.with { database in
            let server = try await ServerProcess.start(database: database.url, arguments: ["--drain-delay", "300ms"])
            let (status, time) = await timeToEnd(server, after: SIGTERM)
            #expect(status == 0)
            #expect(time >= .milliseconds(300))
            await server.stop()
        }
    }

    @Test func `a taken address is one sentence and status 1, and everything started before is closed`() async throws {
        try await TestDatabase.with { database in
            let first = try await ServerProcess.start(database: database.url)
            let address = String(first.url.dropFirst("http://".count))
            let second = try ServerProcess.launch(
                database: database.url, directory: first.directory, arguments: ["--listen", address])
            #expect(await second.ended() == 1)
            #expect(second.logText.contains("Cannot listen on \(address): another program listens there already."))
            #expect(second.logText.contains("Closed in "))
            await first.stop()
        }
    }

    @Test func `an unknown option ends it with status 78 before anything is started`() async throws {
        let server = try ServerProcess.launch(database: nil, arguments: ["--lisen", "x"])
        #expect(await server.ended() == 78)
        #expect(server.logText == "slipway-server: --lisen is not an option of slipway-server. Did you mean --listen?\n")
        await server.stop()
    }

    @Test func `a server with another key ring refuses to start in one sentence`() async throws {
        try await TestDatabase.with { database in
            let first = try await ServerProcess.start(database: database.url)
            await first.stop()
            let second = try ServerProcess.launch(
                database: database.url, environment: ["SLIPWAY_KEYS": "other " + String(repeating: "ab", count: 32)])
            #expect(await second.ended() == 1)
            #expect(second.logText.contains("This key ring is not the one that the database was written with"))
            await second.stop()
        }
    }
}

import AgentProtocol
import Core
import Foundation
import Logging
import Postgres
import TestSupport
import Testing

@testable import Provisioning
@testable import Workspaces

/// What is on record about a workspace's builds and agent, with scripted sandboxes.
@Suite(.timeLimit(.minutes(2))) struct WorkspaceLogTests {
    private struct Bench {
        let pool: PostgresPool
        let principal: Principal
        let provisioner: ScriptedProvisioner
        let stack: WorkspaceStack
        let scope: WorkspaceScope
    }

    private func with(_ body: (Bench) async throws -> Void) async throws {
        try await withDatabase { pool in
            let principal = Principal(
                organization: OrganizationID("00000000-0000-7000-8000-000000000001")!, user: UserID(), username: "ada",
                roles: [.member])
            try await pool.execute(
                """
                INSERT INTO users (id, organization_id, username, roles)
                VALUES (\(principal.user), \(principal.organization), 'ada', ARRAY['member'])
                """)
            let provisioner = ScriptedProvisioner()
            let stack = WorkspaceServiceTests.Bench.stack(pool, provisioner)
            let work = Task { await stack.run() }
            var failure: (any Error)?
            do {
                try await body(
                    Bench(
                        pool: pool, principal: principal, provisioner: provisioner, stack: stack,
                        scope: WorkspaceScope(principal, everyones: false)))
            } catch { failure = error }
            work.cancel()
            await work.value
            if let failure { throw failure }
        }
    }

    private func settled(_ bench: Bench, _ id: WorkspaceID) async throws -> Workspace {
        try await bench.stack.service.settled(bench.principal, id, within: .seconds(20))
    }

    @Test func `a build's log says what was done, and of a failure why, with the sandbox's last words`() async throws {
        try await with { bench in
            let service = bench.stack.service
            let good = try await service.create(bench.principal, name: "good")
            _ = try await settled(bench, good.id)
            let build = try #require(try await bench.stack.service.logs.builds(bench.scope, of: good.id).first)
            #expect(build.number == 1 && build.transition == .start && build.job == .succeeded && build.agent != nil)
            let lines = try await bench.stack.service.logs.lines(bench.scope, ofBuild: build.id, after: 0, limit: 100)
            #expect(lines.map(\.stage) == Array(repeating: "Starting workspace", count: 3))
            #expect(
                lines[0].text == "Build 1." && lines[1].text.hasPrefix("The sandbox runs: uids")
                    && lines[2].text.hasPrefix("Done in"))

            bench.provisioner.state.withLockedValue { $0.startError = AppError(.unavailable, "no room at the inn") }
            let bad = try await service.create(bench.principal, name: "bad")
            #expect(try await settled(bench, bad.id).status == .failed)
            let failed = try #require(try await bench.stack.service.logs.builds(bench.scope, of: bad.id).first)
            let words = try await bench.stack.service.logs.lines(bench.scope, ofBuild: failed.id, after: 0, limit: 100)
            #expect(failed.error == "no room at the inn")
            #expect(words.contains { $0.level == .error && $0.source == .server && $0.text == "no room at the inn" })
            #expect(words.last?.source == .provisioner && words.last?.text == "bwrap: words of 2")
            let error = await #expect(throws: AppError.self) { try await service.waitReady(bench.principal, bad.id) }
            #expect(error?.message.hasSuffix("See: slipway workspace logs bad") == true, "\(error?.message ?? "")")
        }
    }

    @Test func `a sandbox that ends by itself says so in the log of the build that started it`() async throws {
        try await with { bench in
            let made = try await bench.stack.service.create(bench.principal, name: "box")
            _ = try await settled(bench, made.id)
            let build = try #require(try await bench.stack.service.logs.builds(bench.scope, of: made.id).first)
            let before = try await bench.stack.service.logs.lines(bench.scope, ofBuild: build.id, after: 0, limit: 100)
            bench.provisioner.end(made.id, .memory, "The workspace used more memory than it may.")
            var after: [LogLine] = []
            while after.isEmpty {
                after = try await bench.stack.service.logs.lines(
                    bench.scope, ofBuild: build.id, after: before.last?.id ?? 0, limit: 100)
                await Task.yield()
            }
            #expect(after.first?.stage == "Sandbox ended" && after.first?.text == "The workspace used more memory than it may.")
        }
    }

    @Test func `what an agent says of itself is kept in order, read by cursor, without control characters, and bounded`()
        async throws
    {
        try await with { bench in
            let made = try await bench.stack.service.create(bench.principal, name: "box")
            _ = try await settled(bench, made.id)
            let build = try #require(try await bench.stack.service.logs.builds(bench.scope, of: made.id).first)
            let agent = AgentID(try #require(build.agent))
            func read(_ after: Int64) async throws -> [LogLine] {
                try await bench.stack.service.logs.lines(bench.scope, ofAgent: agent.uuid, after: after, limit: 1000)
            }
            func say(_ texts: [String], level: String = "info", at: Date = Date()) {
                bench.stack.agentLogs.note(
                    made.id, AgentLogLines(lines: texts.map { .init(at: at, level: level, text: $0) }, dropped: 0))
            }
            say(["one", "two\u{1B}[2J"])
            say(["three"], level: "error", at: .distantFuture)
            var lines: [LogLine] = []
            while lines.count < 3 { lines = try await read(0) }
            #expect(lines.map(\.text) == ["one", "two [2J", "three"] && lines.map(\.level) == [.info, .info, .error])
            #expect(abs(lines[2].at.timeIntervalSinceNow) < 3600, "a clock that cannot be right is not believed")
            #expect(try await read(lines[1].id).map(\.text) == ["three"])

            let long = String(repeating: "x", count: 2000)
            for _ in 0..<6 { say(Array(repeating: long, count: 100)) }
            say(["too late"])
            var last: LogLine?
            while last?.text != LogRoom.notice {
                let length = try await bench.pool.query("SELECT logs_overflowed FROM workspace_agents WHERE id = \(agent)")
                if try length[0]["logs_overflowed"] { last = try await tail(bench.pool, agent) }
            }
            #expect(last?.level == .warn)
            let stored: Int64 = try await bench.pool.query(
                "SELECT sum(length(output)) AS n FROM workspace_agent_logs WHERE owner_row = \(agent)")[0]["n"]
            #expect(stored <= 1 << 20 && stored > 900_000)
        }
    }

    private func tail(_ pool: PostgresPool, _ agent: AgentID) async throws -> LogLine? {
        let last: Int64 = try await pool.query("SELECT max(id) AS id FROM workspace_agent_logs WHERE owner_row = \(agent)")[0]["id"]
        return try await LogStore.agents(pool).read(agent.uuid, after: last - 1, limit: 1).first
    }

    @Test func `logs of others' workspaces are not found`() async throws {
        try await with { bench in
            let made = try await bench.stack.service.create(bench.principal, name: "box")
            _ = try await settled(bench, made.id)
            let build = try #require(try await bench.stack.service.logs.builds(bench.scope, of: made.id).first)
            let other = WorkspaceScope(organization: bench.principal.organization, owner: UserID())
            #expect(try await bench.stack.service.logs.builds(other, of: made.id).isEmpty)
            await #expect(throws: AppError.self) {
                try await bench.stack.service.logs.lines(other, ofBuild: build.id, after: 0, limit: 10)
            }
            await #expect(throws: AppError.self) {
                try await bench.stack.service.logs.lines(other, ofAgent: build.agent!, after: 0, limit: 10)
            }
            let everyones = WorkspaceScope(bench.principal, everyones: true)
            #expect(try await !bench.stack.service.logs.lines(everyones, ofBuild: build.id, after: 0, limit: 10).isEmpty)
        }
    }

    @Test func `a log that is full says so once, with room kept for it`() {
        var room = LogRoom(length: 0, isFull: false)
        let line = LogLine(at: Date(), source: .agent, level: .info, stage: "Agent", text: String(repeating: "é", count: 500))
        let taken = room.take(Array(repeating: line, count: 2000))
        #expect(room.isFull && room.length <= LogRoom.most)
        #expect(taken.last?.text == LogRoom.notice && taken.count { $0.text == LogRoom.notice } == 1)
        #expect(room.take([line]).isEmpty)
    }
}

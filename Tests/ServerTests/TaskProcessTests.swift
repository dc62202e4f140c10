import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Server

/// Tasks across the end of a server process: database, sandbox, agent, gateway and loop, all real.
@Suite(.serialized, .timeLimit(.minutes(5)), .enabled(if: Delegation.isBuilt, "run: make tools agent"))
struct TaskProcessTests {
    private func check(_ delegation: Delegation, _ database: TestDatabase, _ task: AgentTask, _ server: ServerProcess) async throws
    {
        try await delegation.expectCompleted(task, on: server, lines: Delegation.slowSteps)
        let last = try await delegation.client(server).get("\(APIPaths.tasks)/\(task.id)").json(AgentTask.self)
        let pool = database.pool()
        try await Books(pool: pool).check()
        try await Books(pool: pool).verify(delegation.client(server))
        let booked: Int64 = try await pool.query("SELECT coalesce(sum(cost), 0)::bigint AS n FROM ai_ledger")[0]["n"]
        #expect(booked == last.usage.costNanoDollars)
        await pool.close()
    }

    private func isInSecondCommand(_ events: [TaskEvent]) -> Bool { events.filter { $0.kind == "tool_call" }.count >= 2 }

    @Test func `after kill -9 in the middle of a command the next server goes on, and each command ran once`() async throws {
        try await TestDatabase.with { database in
            let delegation = try await Delegation(database)
            let first = try await delegation.start()
            let task = try await delegation.delegate("demo: slow steps", to: first)
            try await delegation.follow(task, on: first) { events, _ in isInSecondCommand(events) }
            first.signal(SIGKILL)
            #expect(await first.ended() == -SIGKILL)

            let second = try await delegation.start()
            try await check(delegation, database, task, second)
            try await delegation.cleanUp(task, second)
        }
    }
}

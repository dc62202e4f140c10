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
    private static let eachOnce = ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]

    /// The lines that a task added to `steps.txt`.
    private func steps(_ diff: String) -> [String] {
        diff.split(separator: "\n").filter { $0.hasPrefix("+") && !$0.hasPrefix("+++") }.map { String($0.dropFirst()) }
    }

    private func check(_ delegation: Delegation, _ task: AgentTask, _ server: ServerProcess) async throws {
        let events = try await delegation.follow(task, on: server) { _, task in
            !["queued", "running", "waiting"].contains(task.status)
        }
        let last = try await delegation.client(server).get("\(APIPaths.tasks)/\(task.id)").json(AgentTask.self)
        #expect(last.status == "completed", "\(last.status) \(last.message ?? "") \(events.map(\.kind))")
        #expect(events.map(\.sequence) == (1...Int64(events.count)).map { $0 })
        let diff = try await delegation.client(server).get("\(APIPaths.tasks)/\(task.id)/diff").text
        #expect(steps(diff) == Self.eachOnce, "\(diff)")
        let verdict = try await delegation.client(server).send("POST", APIPaths.audit + "/verify").json(AuditVerification.self)
        #expect(verdict.ok, "\(verdict.problems)")
        let pool = delegation.database.pool()
        let booked: Int64 = try await pool.query("SELECT coalesce(sum(cost), 0)::bigint AS n FROM ai_ledger")[0]["n"]
        #expect(booked == last.usage.costNanoDollars)
        let held: Int64 = try await pool.query("SELECT coalesce(sum(held), 0)::bigint AS n FROM ai_budgets")[0]["n"]
        #expect(held == 0)
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
            try await check(delegation, task, second)
            try await delegation.cleanUp(task, second)
        }
    }
}

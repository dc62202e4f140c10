import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

/// What works in a workspace is killed while a task's command runs.
@Suite(.serialized, .timeLimit(.minutes(5)), .enabled(if: Delegation.isBuilt, "run: make tools agent"))
struct WorkspaceFaultTests {
    /// A server and a task in the middle of its second command, with the sandbox's first process.
    private func inSecondCommand(_ body: (Delegation, ServerProcess, AgentTask, _ keeper: pid_t) async throws -> Void) async throws
    {
        try await TestDatabase.with { database in
            let delegation = try await Delegation(database)
            let server = try await delegation.start()
            let task = try await delegation.delegate("demo: slow steps", to: server)
            try await delegation.follow(task, on: server) { events, _ in events.filter { $0.kind == "tool_call" }.count >= 2 }
            let pool = database.pool()
            let rows = try await pool.query(
                "SELECT (sandbox->>'childPID')::int AS pid FROM workspace_builds WHERE sandbox IS NOT NULL ORDER BY number DESC LIMIT 1"
            )
            let keeper = pid_t(try #require(try rows.first?["pid", as: Int32.self]))
            #expect(HostProcesses.stat(keeper)?.name == "keeper")
            // The command writes its first line before it waits.
            try await eventually {
                try Shell.run("cat \(delegation.directory)/sandboxes/ws/*/upper/sample/steps.txt").output.contains("begin 2")
            }
            try await body(delegation, server, task, keeper)
            try await Books(pool: pool).check()
            try await Books(pool: pool).verify(delegation.client(server))
            await pool.close()
            try await delegation.cleanUp(task, server)
        }
    }

    @Test func `after kill -9 of the agent its command runs on, another agent finds it, and each command ran once`() async throws {
        try await inSecondCommand { delegation, server, task, keeper in
            func agents() -> [pid_t] { HostProcesses.children(of: keeper).filter { HostProcesses.stat($0)?.name == "agent" } }
            let agent = try #require(agents().first)
            kill(agent, SIGKILL)
            try await delegation.expectCompleted(task, on: server, lines: Delegation.slowSteps)
            #expect(agents().count == 1 && agents() != [agent])
        }
    }

    @Test func `after kill -9 of the sandbox the running call is unknown, the model is told, and the task goes on`() async throws {
        try await inSecondCommand { delegation, server, task, keeper in
            kill(keeper, SIGKILL)
            try await delegation.expectCompleted(task, on: server, lines: ["begin 1", "end 1", "begin 2", "begin 3", "end 3"])
            let list = try await delegation.client(server).get("\(APIPaths.tasks)/\(task.id)/events").json(TaskEventList.self)
            let results = list.events.filter { $0.kind == "tool_result" }
            #expect(results.count == 3 && results.map(\.isError) != [nil, nil, nil])
            #expect(results[1].isError == true && results[1].text?.contains("unknown") == true, "\(results)")
            // And whoever looks meanwhile is told why it waits.
            #expect(list.events.contains { $0.kind == "waiting" }, "\(list.events.map(\.kind))")
        }
    }
}

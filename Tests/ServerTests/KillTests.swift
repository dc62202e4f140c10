import API
import Foundation
import TestSupport
import Testing

/// `kill -9` of the server at each boundary of a step: the task goes on after the restart, no command runs twice, the books agree.
@Suite(.serialized) struct KillTests {
    enum Moment: String, CaseIterable, Sendable {
        case beforeTheCall, inMidStream, afterToolStart, afterToolEnd, beforeTheCommit

        /// Whether the task has got there, by what its stream of events says.
        func isReached(_ stream: String) -> Bool {
            func count(_ kind: String) -> Int { stream.components(separatedBy: #""kind":"\#(kind)""#).count - 1 }
            return switch self {
            // The second step is on record: its call is about to be sent.
            case .beforeTheCall: count("step_started") >= 2
            // The beginning of an answer is shown before all of it is there.
            case .inMidStream: stream.contains("event: delta")
            // A command's output is shown while it runs.
            case .afterToolStart: stream.contains(#"data: "begin 2\n""#)
            case .afterToolEnd: count("tool_result") >= 2
            // What is left is the last answer, and the work's commit.
            case .beforeTheCommit: count("tool_result") >= 3
            }
        }
    }

    @Test(arguments: Moment.allCases)
    func `after a kill the task completes with the same files and every command ran once`(moment: Moment) async throws {
        try await JobBench.with { bench in
            let first = try await bench.start()
            try await bench.signIn(first)
            let task = try bench.createTask("demo: slow steps", first)
            try await bench.client(first).read("\(APIPaths.tasks)/\(task)/stream", until: moment.isReached)
            first.signal(SIGKILL)
            _ = await first.ended()

            let second = try await bench.start()
            let done = try await bench.follow(task, bench.client(second)) { task, events in
                // The task is read after its events: there may be one more.
                JobBench.isAtRest(task) && events.last?.sequence == task.lastSequence
            }
            #expect(
                done.task.status == "completed", "\(done.task)\n\(done.events.map { "\($0.sequence) \($0.kind) \($0.text ?? "")" })"
            )
            #expect(done.events.map(\.sequence) == Array(1...done.task.lastSequence))

            let pulled = try bench.slipway(["task", "pull", task], server: second)
            #expect(pulled.status == 0, "\(pulled.errors)")
            let steps = try bench.shell("git show \(done.task.repository.branch):steps.txt", in: bench.repository)
            #expect(steps == "begin 1\nend 1\nbegin 2\nend 2\nbegin 3\nend 3\n")

            let verified = try bench.slipway(["audit", "verify"], server: second)
            #expect(verified.status == 0, "\(verified.output)\(verified.errors)")
            try await Self.checkBooks(bench, second, task)
            await second.stop()
        }
    }

    /// Nothing is held any more; what the budget says was spent is what the calls cost, and what the task says.
    private static func checkBooks(_ bench: JobBench, _ server: ServerProcess, _ task: String) async throws {
        let client = bench.client(server)
        try await eventually("every hold is settled, and the books agree") {
            let budget = try await client.get("\(APIPaths.users)/me/ai/budget").json(AIBudget.self)
            let list = try await client.get("\(APIPaths.interceptions)?limit=1000").json(InterceptionList.self)
            let cost = list.interceptions.reduce(0) { $0 + ($1.costNanoDollars ?? 0) }
            let usage = try await client.get("\(APIPaths.tasks)/\(task)").json(AgentTask.self).usage
            return budget.heldNanoDollars == 0 && budget.spentNanoDollars == cost && usage.costNanoDollars == cost
                && list.interceptions.allSatisfy { $0.status != "open" }
        }
    }
}

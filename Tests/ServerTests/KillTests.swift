import API
import Foundation
import Testing

/// `kill -9` of the server at each boundary of a step: the task goes on after the restart, no command runs twice, the books agree.
@Suite(.serialized) struct KillTests {
    enum Moment: String, CaseIterable, Sendable {
        case beforeTheCall, inMidStream, afterToolStart, afterToolEnd, beforeTheCommit

        /// Whether the task has got there.
        func isReached(_ events: [TaskEvent]) -> Bool {
            func count(_ kind: String) -> Int { events.count { $0.kind == kind } }
            return switch self {
            // The second step begins: its call is about to be sent.
            case .beforeTheCall: count("step_started") >= 2
            case .inMidStream: count("step_started") >= 1
            case .afterToolStart: count("tool_call") >= 2
            case .afterToolEnd: count("tool_result") >= 2
            case .beforeTheCommit: count("tool_result") >= 3
            }
        }

        /// How long to let it go on from there: into the stream, into the command.
        var delay: Duration {
            switch self {
            case .beforeTheCall, .afterToolEnd, .beforeTheCommit: .zero
            case .inMidStream: .milliseconds(500)
            case .afterToolStart: .milliseconds(700)
            }
        }
    }

    @Test(arguments: Moment.allCases)
    func `after a kill the task completes with the same files and every command ran once`(moment: Moment) async throws {
        try await JobBench.with { bench in
            let first = try await bench.start()
            try await bench.signIn(first)
            let task = try bench.createTask("demo: slow steps", first)
            _ = try await bench.follow(task, bench.client(first)) { _, events in moment.isReached(events) }
            // The moment lies inside of what the server does between two events: time is the only handle on it.
            try await Task.sleep(for: moment.delay)
            first.signal(SIGKILL)
            _ = await first.ended()

            let second = try await bench.start()
            let done = try await bench.follow(task, bench.client(second)) { task, _ in JobBench.isAtRest(task) }
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
            try await Self.checkBooks(bench, second)
            await second.stop()
        }
    }

    /// Nothing is held any more, and what the budget says was spent is what the calls cost.
    private static func checkBooks(_ bench: JobBench, _ server: ServerProcess) async throws {
        let client = bench.client(server)
        let end = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < end {
            let budget = try await client.get("\(APIPaths.users)/me/ai/budget").json(AIBudget.self)
            let list = try await client.get("\(APIPaths.interceptions)?limit=1000").json(InterceptionList.self)
            let cost = list.interceptions.reduce(0) { $0 + ($1.costNanoDollars ?? 0) }
            if budget.heldNanoDollars == 0, budget.spentNanoDollars == cost, list.interceptions.allSatisfy({ $0.status != "open" })
            {
                return
            }
            try await Task.sleep(for: .milliseconds(200))
        }
        Issue.record("holds were not settled, or the budget and the ledger disagree")
    }
}

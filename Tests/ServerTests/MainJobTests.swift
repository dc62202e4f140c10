import API
import Foundation
import Testing

/// The main job as a developer does it: real server, real sandbox, real client program, scripted model.
@Suite(.serialized) struct MainJobTests {
    @Test func `a task on a repository with a failing test comes back as a commit that mends it, with price and proof`()
        async throws
    {
        try await JobBench.with { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            let prompt = "A test fails. Find the bug, fix it, and show that all tests pass."
            let task = try bench.createTask(prompt, server, ["--model", "demo-scripted"])

            let followed = try bench.slipway(["task", "follow", task], server: server)
            #expect(followed.status == 0, "\(followed.output)\n\(followed.errors)\n\(server.logText)")
            #expect(followed.output.contains("▸ execute"))
            #expect(followed.output.contains("scripted"))

            let value = try await bench.client(server).get("\(APIPaths.tasks)/\(task)").json(AgentTask.self)
            #expect(value.status == "completed" && value.scripted)
            #expect(value.usage.costNanoDollars > 0 && value.usage.steps > 3)
            #expect(value.repository.changedFiles >= 1)

            // The tests fail before, and pass on the branch that comes back.
            #expect(
                try bench.shell("python3 -m unittest -q 2>/dev/null && echo pass || echo fail", in: bench.repository) == "fail\n")
            let pulled = try bench.slipway(["task", "pull", task], server: server)
            #expect(pulled.status == 0, "\(pulled.errors)")
            try bench.shell("git checkout -q \(value.repository.branch) && python3 -m unittest -q", in: bench.repository)
            let author = try bench.shell("git log -1 --format='%an <%ae>|%s'", in: bench.repository)
            #expect(!author.contains("||") && author.contains("|"))

            let diff = try bench.slipway(["task", "diff", task], server: server)
            #expect(diff.output.hasPrefix("diff --git ") && diff.output.contains("\n+"))
            let usage = try bench.slipway(["usage"], server: server)
            #expect(usage.output.contains("demo-scripted") && usage.output.contains("$"))
            let verified = try bench.slipway(["audit", "verify"], server: server)
            #expect(verified.status == 0 && verified.output.contains("the record verifies"), "\(verified.output)\(verified.errors)")
            await server.stop()
        }
    }

    @Test func `a path that is no repository, a repository without a commit and an unknown model are refused with what to do`()
        async throws
    {
        try await JobBench.with { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            let empty = try ServerProcess.temporaryDirectory()
            defer { try? FileManager.default.removeItem(atPath: empty) }
            let none = try bench.slipway(["task", "create", "--repo", empty, "--prompt", "x"], server: server)
            #expect(none.status == 1 && none.errors.contains("is no git repository") && none.errors.contains("git init"))
            try bench.shell("git init -q", in: empty)
            let unborn = try bench.slipway(["task", "create", "--repo", empty, "--prompt", "x"], server: server)
            #expect(unborn.status == 1 && unborn.errors.contains("has no commit yet"))
            let model = try bench.slipway(
                ["task", "create", "--repo", bench.repository, "--prompt", "x", "--model", "no-such-model"], server: server)
            #expect(model.status != 0 && model.errors.contains("no-such-model"), "\(model.errors)")
            await server.stop()
        }
    }

    @Test func `a limit on steps pauses a task with the reason, and resuming with a higher one completes it`() async throws {
        try await JobBench.with { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            let task = try bench.createTask("demo: steps", server, ["--max-steps", "2"])
            let paused = try await bench.follow(task, bench.client(server)) { task, _ in JobBench.isAtRest(task) }
            #expect(paused.task.status == "paused" && paused.task.usage.steps == 2, "\(paused.task)")
            #expect(paused.task.message?.isEmpty == false)
            let resumed = try bench.slipway(["task", "resume", task, "--max-steps", "50"], server: server)
            #expect(resumed.status == 0, "\(resumed.errors)")
            let done = try await bench.follow(task, bench.client(server)) { task, _ in task.status == "completed" }
            #expect(done.task.usage.steps == 7)
            let pulled = try bench.slipway(["task", "pull", task], server: server)
            #expect(pulled.status == 0, "\(pulled.errors)")
            let steps = try bench.shell("git show \(done.task.repository.branch):steps.txt", in: bench.repository)
            #expect(steps == "1\n2\n3\n4\n5\n6\n")
            await server.stop()
        }
    }

    @Test func `a paused task is resumed from its page with a higher limit, and refused with the way back without one`()
        async throws
    {
        try await JobBench.with { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            let task = try bench.createTask("demo: steps", server, ["--max-steps", "1"])
            let paused = try await bench.follow(task, bench.client(server)) { task, _ in JobBench.isAtRest(task) }
            #expect(paused.task.status == "paused")

            let stranger = Client(server).with("sec-fetch-site", "same-origin")
            let signedIn = try await stranger.send("POST", "/login", Data("username=dev&password=a+long+enough+password+1".utf8))
            let cookie = try #require(signedIn.header("set-cookie")?.split(separator: ";").first, "\(signedIn.text)")
            let browser = stranger.with("cookie", String(cookie))
            let page = try await browser.get("/tasks/\(task)")
            #expect(page.text.contains(#"name="steps" type="number" min="2""#), "\(page.text)")

            let same = try await browser.send("POST", "/tasks/\(task)/resume", Data("steps=1&dollars=&minutes=".utf8))
            #expect(same.status == 400 && same.text.contains("a limit above that"))
            #expect(same.text.contains(#"<a href="/tasks/\#(task)">Back to the task</a>"#), "\(same.text)")
            let more = try await browser.send("POST", "/tasks/\(task)/resume", Data("steps=50&dollars=&minutes=".utf8))
            #expect(more.status == 303, "\(more.text)")
            let done = try await bench.follow(task, bench.client(server)) { task, _ in task.status == "completed" }
            #expect(done.task.limits.steps == 50)
            let nowhere = try await browser.with("accept", "text/html,*/*").get("/nothing")
            #expect(nowhere.status == 404 && nowhere.text.hasPrefix("<!doctype html>"), "\(nowhere.text)")
            #expect(try await browser.get("/nothing").error?.code == "not_found")
            let list = try await browser.get("/tasks")
            #expect(list.text.contains("7 steps"))
            await server.stop()
        }
    }

    @Test func `what a client is told wrongly is said before anything is sent, and ends with the code for it`() async throws {
        try await JobBench.with { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            let base = try bench.slipway(["task", "create", "--prompt", "x", "--base", "nobranch"], server: server)
            #expect(base.status == 1 && base.errors.contains("has no branch 'nobranch'") && base.errors.contains("main"))
            let cost = try bench.slipway(["task", "create", "--prompt", "x", "--max-cost", "much"], server: server)
            #expect(cost.status == 64 && cost.errors.contains("'much'"), "\(cost.errors)")
            let page = try bench.slipway(["task", "list", "--url", server.url + "/tasks?after=1"], server: server)
            #expect(page.status == 64 && page.errors.contains("address of a page"), "\(page.errors)")
            let done = try bench.slipway(["models", "allow", "all", "--model", "*", "--output", "json"], server: server)
            let removed = try bench.slipway(["models", "remove-policy", "all", "--output", "json"], server: server)
            for outcome in [done, removed] {
                #expect(
                    (try? JSONSerialization.jsonObject(with: Data(outcome.output.utf8))) != nil,
                    "\(outcome.output)\(outcome.errors)")
            }
            await server.stop()
        }
    }

    /// Asks for the interrupt, waits for it, and checks that it was done within a second by the server's own clock: from the request's
    /// event to the one that says the task is interrupted, its work saved.
    private func interrupt(_ task: String, _ bench: JobBench, _ client: Client) async throws -> (AgentTask, [TaskEvent]) {
        let answer = try await client.post("\(APIPaths.tasks)/\(task)/interrupt", [String: String]())
        try #require(answer.status == 200, "\(answer.text)")
        let (record, events) = try await bench.follow(task, client) { task, events in
            task.status == "interrupted" && events.contains { $0.kind == "interrupted" }
        }
        let asked = try #require(events.first { $0.kind == "interrupt_requested" })
        let done = try #require(events.first { $0.kind == "interrupted" })
        let history = events.map { "\($0.kind) \($0.at.timeIntervalSince(asked.at))" }
        #expect(done.at.timeIntervalSince(asked.at) < 1, "\(history)")
        return (record, events)
    }

    @Test func `an interrupt stops the running command and the task within a second`() async throws {
        try await JobBench.with { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            let client = bench.client(server)
            let task = try bench.createTask("demo: long command", server)
            _ = try await bench.follow(task, client) { _, events in events.contains { $0.kind == "tool_call" } }
            _ = try await interrupt(task, bench, client)
            await server.stop()
        }
    }

    @Test func `an interrupt stops an answer within a second, keeps what was said, and costs what the ledger says`() async throws {
        try await JobBench.with { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            let client = bench.client(server)
            let task = try bench.createTask("demo: slow stream", server)
            // The first words are there when the stream's first event is.
            try await bench.untilPreview(task, client)
            let (record, events) = try await interrupt(task, bench, client)
            let said = try #require(events.first { $0.kind == "text" })
            #expect(said.isPartial == true)
            #expect(said.text?.hasPrefix("One more") == true)
            let booked = try await bench.booked(task)
            #expect(booked > 0)
            #expect(record.usage.costNanoDollars == booked)
            #expect(events.first { $0.kind == "step_failed" }?.costNanoDollars == booked)
            await server.stop()
        }
    }
}

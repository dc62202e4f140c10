import API
import Core
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

/// A provider that is dead, wrong, slow or cuts its answers, under a task: the reason is shown, and the task goes on when it is mended.
@Suite(.serialized, .timeLimit(.minutes(5)), .enabled(if: Delegation.isBuilt, "run: make tools agent"))
struct UpstreamFaultTests {
    private static let model = "anthropic/claude-haiku-4-5"

    private static func answer(_ status: String, _ body: String, more: String = "") -> String {
        "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\n\(more)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private static func error(_ type: String, _ message: String) -> String {
        #"{"type":"error","error":{"type":"\#(type)","message":"\#(message)"}}"#
    }

    /// Does as the mode says; without one it answers as it should.
    private static func provider(_ mode: NIOLockedValueBox<String>) -> RawServer.Script {
        { connection in
            while let request = try await connection.request() {
                let mode = mode.withLockedValue { $0 }
                let stream = ScriptedProvider.whole
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                func chunk(_ text: some StringProtocol) -> String { "\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n" }
                switch mode {
                case "closes": return
                case "rubbish": return try await connection.send("this is no HTTP\r\n\r\n")
                case "half": return try await connection.send(head + chunk(stream.prefix(300)))
                case "silent": return await connection.untilClosed()
                case "overloaded": try await connection.send(answer("529 Overloaded", error("overloaded_error", "come back later")))
                case "limited":
                    try await connection.send(
                        answer("429 Too Many", error("rate_limit_error", "too many calls"), more: "Retry-After: 3\r\n"))
                case "wrong key": try await connection.send(answer("401 No", error("authentication_error", "invalid x-api-key")))
                default:
                    _ = request
                    try await connection.send(head + chunk(stream) + "0\r\n\r\n")
                }
            }
        }
    }

    @Test func `a faulty provider is named with its fault, and the task goes on by itself when it is mended`() async throws {
        let mode = NIOLockedValueBox("")
        try await TestDatabase.with { database in
            try await RawServer.with(Self.provider(mode)) { upstream in
                let delegation = try await Delegation(database)
                let server = try await delegation.start(environment: ScriptedProvider.environment(upstream))
                var tasks: [AgentTask] = []
                for (fault, said) in [
                    ("closes", "closed the connection without an answer"), ("rubbish", "HTTP"), ("half", "broke off"),
                    ("overloaded", "come back later"), ("limited", "too many calls"),
                ] {
                    mode.withLockedValue { $0 = fault }
                    let task = try await delegation.delegate("say something", to: server, model: Self.model)
                    try await delegation.follow(task, on: server) { _, task in task.status == "waiting" }
                    let waiting = try await delegation.task(task, on: server)
                    #expect(waiting.message?.contains(said) == true, "\(fault): \(waiting.reason ?? "") \(waiting.message ?? "")")
                    mode.withLockedValue { $0 = "" }
                    tasks.append(task)
                }
                for task in tasks {
                    try await delegation.follow(task, on: server) { _, task in task.status == "completed" }
                }
                let pool = database.pool()
                try await Books(pool: pool).check()
                try await Books(pool: pool).verify(delegation.client(server))
                await pool.close()
                for task in tasks.dropLast() { try await delegation.removeWorkspace(of: task, on: server) }
                try await delegation.cleanUp(tasks[tasks.count - 1], server)
            }
        }
    }

    @Test
    func `a refused key ends the task's turn with the provider's words, and resuming it goes on; a silent one can be interrupted`()
        async throws
    {
        let mode = NIOLockedValueBox("wrong key")
        try await TestDatabase.with { database in
            try await RawServer.with(Self.provider(mode)) { upstream in
                let delegation = try await Delegation(database)
                let server = try await delegation.start(environment: ScriptedProvider.environment(upstream))
                let client = delegation.client(server)
                let task = try await delegation.delegate("say something", to: server, model: Self.model)
                try await delegation.follow(task, on: server) { _, task in task.status == "failed" }
                #expect(try await delegation.task(task, on: server).message?.contains("invalid x-api-key") == true)
                mode.withLockedValue { $0 = "silent" }
                #expect(try await client.post("\(APIPaths.tasks)/\(task.id)/resume", ResumeTaskRequest()).status == 200)
                try await delegation.follow(task, on: server) { events, _ in events.filter { $0.kind == "step_started" }.count >= 2
                }
                let begin = ContinuousClock.now
                #expect(try await client.send("POST", "\(APIPaths.tasks)/\(task.id)/interrupt").status == 200)
                try await delegation.follow(task, on: server) { _, task in task.status == "interrupted" }
                // One second is the rule; polling and this busy machine get a little more.
                #expect(begin.duration(to: .now) < .seconds(3))
                mode.withLockedValue { $0 = "" }
                #expect(try await client.post("\(APIPaths.tasks)/\(task.id)/resume", ResumeTaskRequest()).status == 200)
                try await delegation.follow(task, on: server) { _, task in task.status == "completed" }
                let pool = database.pool()
                try await Books(pool: pool).check()
                await pool.close()
                try await delegation.cleanUp(task, server)
            }
        }
    }
}

import Core
import Foundation
import ModelAPI
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Gateway

@Suite struct RecordTests {
    /// Answers the first call with a tool call, later ones with text.
    private static let withTool: RawServer.Script = { connection in
        while let request = try await connection.request() {
            let isLater = String(buffer: request.body).contains("tool_result")
            let tool =
                #"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"tool_use","id":"toolu_1","name":"read_file","input":{"path":"a.txt"}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":4}}"#
            let answer = isLater ? Upstream.message("Done.") : tool
            try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
        }
    }

    private static let second =
        #"{"model":"test-model","max_tokens":300,"messages":[{"role":"user","content":"go"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"read_file","input":{"path":"a.txt"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"text of a"}]}]}"#

    @Test func `a tool call, its result and the thread are told together`() async throws {
        try await Stage.with(Self.withTool) { stage in
            try await stage.gateway { gateway in
                let first = stage.call(Stage.messages("go"))
                _ = await gateway.call(first).text()
                let second = stage.call(Self.second)
                _ = await gateway.call(second).text()
                // Also when another process answers, which has to ask the database.
                try await stage.gateway { other in
                    await gateway.content.idle()
                    let third = stage.call(Self.second)
                    _ = await other.call(third).text()
                    let detail = try await other.interceptions.get(.own(stage.user), third.id).interception
                    #expect(detail.threadParent == first.id.uuid && detail.threadRoot == first.id.uuid)
                }
                await gateway.settle.idle()
                await gateway.content.idle()
                let detail = try await gateway.interceptions.get(.own(stage.user), first.id)
                #expect(detail.thoughts == "hm" && detail.answer == "")
                #expect(detail.tools.map(\.name) == ["read_file"] && detail.tools.map(\.input) == [#"{"path":"a.txt"}"#])
                #expect(detail.tools[0].result == "text of a" && detail.tools[0].isError == false)
                let later = try await gateway.interceptions.get(.own(stage.user), second.id).interception
                #expect(later.threadRoot == first.id.uuid && later.session == first.id.description)
                let sessions = try await gateway.interceptions.sessions(.own(stage.user), .init(), PageRequest())
                #expect(sessions.items.count == 1 && sessions.items[0].interceptions == 3 && sessions.items[0].prompt == "go")
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `the loop's calls are of its task, and of the person it acts for`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let task = TaskID()
                let call = stage.call(Stage.messages(), origin: .loop(task: task, step: 7))
                _ = await gateway.call(call).text()
                var filter = InterceptionFilter()
                filter.task = task
                let found = try await gateway.interceptions.list(.own(stage.user), filter, PageRequest()).items
                #expect(found.map(\.id) == [call.id] && found[0].taskStep == 7 && found[0].client == "Slipway")
                #expect(found[0].session == task.description && found[0].initiator == stage.user.user)
            }
        }
    }

    @Test func `lists are cut into pages without gaps, filters narrow them, and nobody reads what is another's`() async throws {
        try await Stage.with { stage in
            let other = try await Stage.makeUser(stage.pool, "eve")
            try await stage.gateway { gateway in
                for number in 0..<7 {
                    let headers =
                        number < 3
                        ? [(name: "User-Agent", value: "claude-cli/1"), (name: "X-Claude-Code-Session-Id", value: "s1")] : []
                    _ = await gateway.call(
                        stage.call(Stage.messages("p\(number)"), headers: headers, as: number == 6 ? other : nil)
                    ).text()
                }
                await gateway.settle.idle()
                await gateway.content.idle()
                var seen: [String?] = []
                var after: String?
                repeat {
                    let page = try await gateway.interceptions.list(.own(stage.user), .init(), PageRequest(limit: 2, after: after))
                    seen += page.items.map(\.prompt)
                    after = page.next
                } while after != nil
                #expect(seen == ["p5", "p4", "p3", "p2", "p1", "p0"])
                let all = try await gateway.interceptions.list(.all(stage.user), .init(), PageRequest())
                #expect(all.items.count == 7)
                var filter = InterceptionFilter()
                filter.client = "Claude Code"
                filter.session = "s1"
                #expect(try await gateway.interceptions.list(.own(stage.user), filter, PageRequest()).items.count == 3)
                let session = try await gateway.interceptions.sessions(.own(stage.user), filter, PageRequest()).items
                #expect(session.map(\.id) == ["s1"] && session[0].usage.output == 15 && session[0].cost == NanoDollars(180_000))
                let first = try await gateway.interceptions.sessions(.all(stage.user), .init(), PageRequest(limit: 2))
                let rest = try await gateway.interceptions.sessions(
                    .all(stage.user), .init(), PageRequest(limit: 9, after: first.next))
                #expect(first.items.count == 2 && rest.items.count == 3 && rest.next == nil)
                await #expect(throws: AppError.self) { _ = try await gateway.interceptions.get(.own(other), all.items[1].id) }
                await #expect(throws: AppError.self) {
                    _ = try await gateway.interceptions.list(.own(other), .init(), PageRequest(after: "1; DROP TABLE users"))
                }
                let usage = try await gateway.spend.usage(.all(stage.user))
                #expect(usage.lines.map(\.calls) == [6, 1] && usage.lines.map(\.username) == ["ada", "eve"])
                #expect(try await gateway.spend.usage(.own(other), period: "2001-01").lines.isEmpty)
                await #expect(throws: AppError.self) { _ = try await gateway.spend.usage(.own(other), period: "2001-13") }
            }
        }
    }

    @Test func `a provider that is created is called with its key, which nobody can read, and changes are on record`() async throws
    {
        try await Stage.with { stage in
            let admin = try await Stage.makeUser(stage.pool, "root", roles: [.admin])
            try await stage.gateway { gateway in
                let key = Secret("sk-a-very-secret-key-of-mine")
                _ = try await gateway.providers.create(
                    admin, name: "mine", type: .anthropic,
                    .init(baseURL: stage.upstream, keys: [key], allowsPrivateAddresses: true))
                #expect(await gateway.call(stage.call(Stage.messages(), provider: "mine")).status == 200)
                let sealed: Data = try await stage.pool.query("SELECT sealed FROM ai_provider_keys")[0]["sealed"]
                #expect(!String(decoding: sealed, as: UTF8.self).contains("secret"))
                let listed = try gateway.providers.list(admin)
                #expect(listed.map(\.name) == ["anthropic", "azure", "gemini", "mine", "openai"])
                #expect(listed.first { $0.name == "mine" }?.keys.map(\.hint) == ["sk-a...mine"])
                #expect(!"\(listed)".contains("very-secret"))
                await #expect(throws: AppError.self) {
                    _ = try await gateway.providers.create(admin, name: "mine", type: .openai, .init())
                }
                _ = try await gateway.providers.update(admin, name: "mine", .init(allowsPrivateAddresses: false))
                let refused = await gateway.call(stage.call(Stage.messages(), provider: "mine"))
                #expect(refused.status == 403)
                _ = try await gateway.providers.update(admin, name: "mine", .init(isEnabled: false))
                #expect(await gateway.call(stage.call(Stage.messages(), provider: "mine")).status == 404)
                try await gateway.providers.delete(admin, name: "mine")
                let kinds = try await stage.pool.query("SELECT kind, body FROM audit_facts ORDER BY at").map {
                    ($0, try $0["kind", as: String.self])
                }
                #expect(kinds.map(\.1) == ["provider.create", "provider.update", "provider.update", "provider.delete"])
                for (row, _) in kinds { #expect(try !row["body", as: String.self].contains("very-secret")) }
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a long stream is written while it runs, each second`() async throws {
        let goOn = Signal()
        let script: RawServer.Script = { connection in
            _ = try await connection.request()
            let events = Upstream.messageStream()
            try await connection.send(Upstream.head("text/event-stream") + events.prefix(4).map(Upstream.chunk).joined())
            await goOn.wait()
            try await connection.send(events.dropFirst(4).map(Upstream.chunk).joined() + Upstream.lastChunk)
        }
        try await Stage.with(script) { stage in
            try await stage.gateway { gateway in
                let call = stage.call(Stage.messages(stream: true))
                let answer = await gateway.call(call)
                let reading = Task { await answer.text() }
                try await eventually {
                    try await stage.count("ai_contents", "state = 'partial' AND part = 'answer' AND size > 0") == 1
                }
                let partial = try await gateway.interceptions.get(.own(stage.user), call.id)
                #expect(partial.content == "partial" && partial.answer == "Hel" && partial.interception.prompt == "hi")
                goOn.fire()
                #expect(await reading.value == Upstream.messageStream().joined())
                await gateway.drain(grace: .seconds(1))
                let body = try await gateway.contentStore.body(Stage.organization, call.id, .answer)
                #expect(
                    body?.state == .complete
                        && body.map { String(decoding: $0.bytes, as: UTF8.self) } == Upstream.messageStream().joined())
                try await stage.expectSound(gateway)
            }
        }
    }
}

import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Gateway

/// Filters of calls and sessions, the search, and spend.
@Suite struct ListTests {
    private static let script: RawServer.Script = { connection in
        while let request = try await connection.request() {
            let body = String(buffer: request.body)
            let tool =
                #"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"tool_use","id":"toolu_1","name":"read_file","input":{"path":"a.txt"}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":400}}"#
            let answer = body.contains("with tool") ? tool : Upstream.message("The pomegranate is ripe.")
            try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
        }
    }

    private struct Scene {
        var stage: Stage
        var gateway: Gateway
        var bob: Principal
        var plain: GatewayCall
        var tool: GatewayCall
        var refused: GatewayCall
        var bobs: GatewayCall
    }

    /// A group with these in it.
    private func group(_ stage: Stage, _ name: String, _ members: [Principal] = []) async throws {
        let id = UUID()
        try await stage.pool.execute(
            "INSERT INTO groups (id, organization_id, name) VALUES (\(id), \(Stage.organization), \(name))")
        for member in members {
            try await stage.pool.execute("INSERT INTO group_members (group_id, user_id) VALUES (\(id), \(member.user))")
        }
    }

    private func scene(_ body: (Scene) async throws -> Void) async throws {
        try await Stage.with(Self.script) { stage in
            try await stage.gateway { gateway in
                try await gateway.modelPolicies.put(stage.user, name: "all", models: ["*/test-model"], roles: [], users: [])
                let bob = try await Stage.makeUser(stage.pool, "bob")
                let session = [("x-claude-code-session-id", "one"), ("user-agent", "claude-cli/1.0")].map {
                    (name: $0.0, value: $0.1)
                }
                let plain = stage.call(Stage.messages("count the sheep"), headers: session)
                let tool = stage.call(Stage.messages("with tool"), headers: session)
                let refused = stage.call(Stage.messages("hi", model: "forbidden-model"))
                let bobs = stage.call(Stage.messages("count the goats"), as: bob, origin: .loop(task: TaskID(), step: 1))
                for call in [plain, tool, refused, bobs] { _ = await gateway.call(call).text() }
                await gateway.settle.idle()
                await gateway.content.idle()
                // What is indexed is a second old at least.
                try await eventually {
                    try await gateway.texts.follow()
                    return try await stage.count("ai_texts") == 3
                }
                try await body(
                    Scene(stage: stage, gateway: gateway, bob: bob, plain: plain, tool: tool, refused: refused, bobs: bobs))
            }
        }
    }

    @Test func `a text is found by each of its words, those of paths, addresses and tags too`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let prompt =
                    "See src/billing/invoice.py, https://example.org/foo/barbaz?quux=1 and <script>alert(1)</script> of Map<Zebra>; größer_als 3.14"
                for text in [prompt, "nothing of it"] { _ = await gateway.call(stage.call(Stage.messages(text))).text() }
                await gateway.settle.idle()
                await gateway.content.idle()
                try await eventually {
                    try await gateway.texts.follow()
                    return try await stage.count("ai_texts") == 2
                }
                func found(_ text: String) async throws -> Int {
                    var filter = InterceptionFilter()
                    filter.text = text
                    return try await gateway.interceptions.list(.all(stage.user), filter, PageRequest()).items.count
                }
                for text in [
                    "billing", "invoice.py", "src/billing/invoice.py", "\"billing/invoice\"", "barbaz", "quux", "alert", "Zebra",
                    "map<zebra>", "größer_als", "3.14", "invoice or goat", "script -goat",
                ] {
                    #expect(try await found(text) == 1, "\(text)")
                }
                for text in ["goat", "billing goat", "\"invoice billing\"", "billing -zebra"] {
                    #expect(try await found(text) == 0, "\(text)")
                }
                #expect(try await found("-billing") == 1)
            }
        }
    }

    @Test func `each filter lets its calls through and no others`() async throws {
        try await scene { scene in
            func ids(_ set: (inout InterceptionFilter) -> Void) async throws -> Set<InterceptionID> {
                var filter = InterceptionFilter()
                set(&filter)
                let found = try await scene.gateway.interceptions.list(.all(scene.stage.user), filter, PageRequest()).items
                let sessions = try await scene.gateway.interceptions.sessions(.all(scene.stage.user), filter, PageRequest()).items
                #expect(Set(sessions.map(\.id)) == Set(found.map(\.session)))
                #expect(sessions.reduce(0) { $0 + $1.interceptions } == found.count)
                return Set(found.map(\.id))
            }
            let (plain, tool, refused, bobs) = (scene.plain.id, scene.tool.id, scene.refused.id, scene.bobs.id)
            #expect(try await ids { _ in } == [plain, tool, refused, bobs])
            #expect(try await ids { $0.decision = .refused } == [refused])
            #expect(try await ids { $0.decision = .allowed } == [plain, tool, bobs])
            let rule = try await scene.gateway.interceptions.get(.all(scene.stage.user), plain).interception.policy
            #expect(rule.contains("all"))
            #expect(try await ids { $0.policy = rule } == [plain, tool, bobs])
            #expect(try await ids { $0.status = "refused" } == [refused])
            #expect(try await ids { $0.tool = "read_file" } == [tool])
            #expect(try await ids { $0.tool = "write_file" } == [])
            #expect(try await ids { $0.text = "sheep" } == [plain])
            #expect(try await ids { $0.text = "\"COUNT the\" -goats" } == [plain])
            #expect(try await ids { $0.text = "pomegranate" } == [plain, bobs])
            #expect(try await ids { $0.text = "sheep or goats" } == [plain, bobs])
            #expect(try await ids { $0.costAtLeast = NanoDollars(1_000_000) } == [tool])
            #expect(try await ids { $0.costAtMost = NanoDollars(1_000_000) } == [plain, bobs])
            #expect(try await ids { $0.client = "Slipway" } == [bobs])
            #expect(try await ids { $0.session = "one" } == [plain, tool])
            let several = try await ids {
                $0.model = "test-model"
                $0.providerName = "anthropic"
                $0.initiator = scene.bob.user
            }
            #expect(several == [bobs])
            try await group(scene.stage, "herders", [scene.bob])
            try await group(scene.stage, "everybody", [scene.bob, scene.stage.user])
            try await group(scene.stage, "nobody")
            #expect(try await ids { $0.group = "herders" } == [bobs])
            #expect(try await ids { $0.group = "everybody" } == [plain, tool, refused, bobs])
            #expect(try await ids { $0.group = "nobody" } == [])
            await #expect(throws: AppError.self) { _ = try await ids { $0.group = "unheard-of" } }
        }
    }

    @Test func `spend by group counts people in each group that they are in, and those in none apart`() async throws {
        try await scene { scene in
            let (stage, gateway) = (scene.stage, scene.gateway)
            try await group(stage, "herders", [scene.bob])
            try await group(stage, "night-shift", [scene.bob])
            for _ in 0..<2 {
                var query = SpendQuery()
                query.by = [.group]
                let groups = try await gateway.spend.spend(.all(stage.user), query).lines
                #expect(
                    groups.reduce(into: [:]) { $0[$1.group ?? "-", default: 0] += $1.calls } == [
                        "herders": 1, "night-shift": 1, "-": 2,
                    ])
                query.by = [.group, .user, .model]
                let people = try await gateway.spend.spend(.all(stage.user), query).lines
                #expect(
                    Set(people.map { "\($0.group ?? "-") \($0.username ?? "-")" }) == ["herders bob", "night-shift bob", "- ada"])
                // Summed, and before.
                try await gateway.spendFollower.follow()
            }
        }
    }

    @Test func `pages of sessions follow each other without gap or repetition`() async throws {
        try await scene { scene in
            let all = try await scene.gateway.interceptions.sessions(.all(scene.bob), .init(), PageRequest()).items
            var seen: [String] = []
            var after: String?
            repeat {
                let page = try await scene.gateway.interceptions.sessions(
                    .all(scene.bob), .init(), PageRequest(limit: 1, after: after))
                seen += page.items.map(\.id)
                after = page.next
            } while after != nil
            #expect(seen == all.map(\.id) && seen.count == 3)
        }
    }

    @Test func `spend is the same before it is summed, after, and half of each`() async throws {
        try await scene { scene in
            let (stage, gateway) = (scene.stage, scene.gateway)
            func spend(_ by: [SpendDimension], _ scope: InterceptionScope? = nil) async throws -> [SpendLine] {
                var query = SpendQuery()
                query.by = by
                return try await gateway.spend.spend(scope ?? .all(stage.user), query).lines
            }
            func check(calls: Int) async throws {
                let ledger = try await stage.ledger().reduce(NanoDollars.zero) { $0 + $1.cost }
                for by in [[], [SpendDimension.user], [.model, .day], SpendDimension.allCases] {
                    let lines = try await spend(by)
                    #expect(lines.reduce(NanoDollars.zero) { $0 + $1.cost } == ledger, "\(by)")
                    #expect(lines.reduce(0) { $0 + $1.calls } == calls, "\(by)")
                }
                #expect(try await Set(spend([.user]).map(\.username)) == ["ada", "bob"])
                #expect(
                    try await spend([.task, .client], .own(scene.bob)).map { $0.task != nil && $0.client == "Slipway" } == [true])
                let usage = try await gateway.spend.usage(.own(scene.bob))
                #expect(usage.lines.map(\.calls) == [1] && usage.lines[0].provider == "anthropic")
            }
            try await check(calls: 3)
            try await eventually {
                try await gateway.spendFollower.follow()
                return try await stage.count("audit_cursors", "follower = 'spend'") == 1
            }
            try await check(calls: 3)
            _ = await gateway.call(stage.call(Stage.messages("once more"))).text()
            await gateway.settle.idle()
            try await check(calls: 4)
            try await gateway.spendFollower.follow()
            #expect(try await gateway.spendFollower.follow() == 0)
            try await check(calls: 4)
        }
    }
}

import Core
import Foundation
import Policies
import TestSupport
import Testing

@testable import Gateway

/// What rules do to a call besides letting it pass: where they send it, and how little of it they keep.
@Suite struct RuleEffectTests {
    @Test func `a rule sends calls to a route, which its record names, and to nowhere else when the route is gone`() async throws {
        try await Stage.with { stage in
            try await stage.gateway(providers: [stage.provider("local", .anthropic)]) { gateway in
                let rules = """
                    name: cheap
                    default: next
                    rules:
                      - {id: large-stays-here, resources: {models: "anthropic/*"}, when: {bytes: {at_least: 2000}}, effect: route, to: here}
                    """
                try await stage.put(gateway, rules)
                _ = try await gateway.routes.put(stage.user, name: "here", targets: ["local/\(Stage.model)"])
                let small = await gateway.call(stage.call(Stage.messages()))
                #expect(small.status == 200 && small.header("x-slipway-target") == nil)
                let long = Stage.messages(String(repeating: "x", count: 3000))
                let sent = await gateway.call(stage.call(long))
                #expect(sent.status == 200 && sent.header("x-slipway-target") == "local/\(Stage.model)")
                let rows = try await stage.pool.query("SELECT policy FROM ai_interceptions ORDER BY started_at")
                #expect(
                    try rows.map { try $0["policy", as: String.self] } == [
                        "default/default", "default/default route:cheap/large-stays-here",
                    ])
                try await gateway.routes.delete(stage.user, name: "here")
                let lost = await gateway.call(stage.call(long))
                #expect(lost.status == 403)
                #expect(await lost.text().contains("(policy rule cheap/large-stays-here)"))
            }
        }
    }

    @Test func `rules say how little of a call's content stays on record, of those that are refused too`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let rules = """
                    name: content
                    default: next
                    rules:
                      - {id: nothing, when: {bytes: {at_least: 2000}}, effect: keep, content: none}
                      - {id: hashes, when: {bytes: {at_least: 1000}}, effect: keep, content: hashed}
                      - {id: too-long, when: {bytes: {at_least: 3000}}, effect: deny}
                    """
                try await stage.put(gateway, rules)
                for length in [10, 1500, 2500, 3500] {
                    _ = await gateway.call(stage.call(Stage.messages(String(repeating: "x", count: length)))).text()
                }
                await gateway.settle.idle()
                await gateway.content.idle()
                let rows = try await stage.pool.query(
                    """
                    SELECT i.content_mode, i.policy, i.request_hash = \(Content.emptyHash) AS empty,
                           (SELECT count(*) FROM ai_contents c WHERE c.interception_id = i.id) AS parts,
                           (SELECT count(*) FROM ai_user_prompts p WHERE p.interception_id = i.id) AS prompts
                    FROM ai_interceptions i ORDER BY i.started_at
                    """)
                let found = try rows.map { row in
                    "\(try row["content_mode", as: String.self]) \(try row["empty", as: Bool.self]) \(try row["parts", as: Int.self]) \(try row["prompts", as: Int.self])"
                }
                #expect(found == ["full false 2 1", "hashed false 0 0", "none true 0 0", "none true 0 0"])
                let policies = try rows.map { try $0["policy", as: String.self] }
                #expect(policies[2] == "default/default keep:content/nothing")
                #expect(policies[3] == "content/too-long keep:content/nothing")
                try await stage.expectSound(gateway)
            }
        }
    }

    /// What of the calls is on record, in the order of their beginning.
    private func kept(_ stage: Stage, _ gateway: Gateway) async throws -> [String] {
        await gateway.settle.idle()
        return try await stage.pool.query("SELECT content_mode, policy FROM ai_interceptions ORDER BY started_at").map {
            "\(try $0["content_mode", as: String.self]) \(try $0["policy", as: String.self])"
        }
    }

    @Test func `what a rule keeps of a call holds where another rule sends it, too`() async throws {
        try await Stage.with { stage in
            try await stage.gateway(providers: [stage.provider("local", .anthropic)]) { gateway in
                try await stage.put(
                    gateway,
                    """
                    name: cheap
                    default: next
                    rules:
                      - {id: quiet, resources: {providers: anthropic}, effect: keep, content: none}
                      - {id: away, resources: {providers: anthropic}, effect: route, to: here}
                    """)
                _ = try await gateway.routes.put(stage.user, name: "here", targets: ["local/\(Stage.model)"])
                let sent = await gateway.call(stage.call(Stage.messages()))
                #expect(sent.status == 200 && sent.header("x-slipway-target") == "local/\(Stage.model)")
                _ = await sent.text()
                // Neither rule is about calls that ask for it by its name.
                _ = await gateway.call(stage.call(Stage.messages(), provider: "local")).text()
                #expect(
                    try await kept(stage, gateway) == [
                        "none default/default route:cheap/away keep:cheap/quiet", "full default/default",
                    ])
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `what a rule keeps of a call holds for one that could not be sent`() async throws {
        try await Stage.with { stage in
            var keyless = stage.provider("keyless", .anthropic)
            keyless.keys = []
            try await stage.gateway(providers: [keyless]) { gateway in
                try await stage.put(gateway, "{name: quiet, default: next, rules: [{id: all, effect: keep, content: none}]}")
                let unpriced = await gateway.call(stage.call(Stage.messages(model: "dear-model")))
                #expect(unpriced.status == 403)
                #expect(await unpriced.text().contains("has no price"))
                #expect(await gateway.call(stage.call(Stage.messages(), provider: "keyless")).status >= 400)
                #expect(
                    try await kept(stage, gateway) == [
                        "none default/default keep:quiet/all price:none", "none default/default keep:quiet/all",
                    ])
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `the record names the rule that lets the call pass to where it goes first`() async throws {
        try await Stage.with({ connection in
            while let request = try await connection.request() {
                let isDown = request.path.hasPrefix("/down")
                let answer = isDown ? "{}" : Upstream.message()
                try await connection.send(Upstream.head(status: isDown ? "503 Down" : "200 OK", length: answer.utf8.count) + answer)
            }
        }) { stage in
            let providers = ["down", "up"].map { stage.provider($0, .anthropic, url: "\(stage.upstream)/\($0)") }
            try await stage.gateway(providers: providers) { gateway in
                try await stage.put(
                    gateway,
                    """
                    name: places
                    default: next
                    rules:
                      - {id: first, resources: {providers: down}, effect: allow}
                      - {id: second, resources: {providers: up}, effect: allow}
                    """)
                _ = try await gateway.routes.put(stage.user, name: "fast", targets: ["down/test-model", "up/test-model"])
                // The circuit of the first is open after these.
                for _ in 0...CircuitBreaker.tolerated {
                    _ = await gateway.call(stage.call(Stage.messages(model: "fast"), provider: "auto")).text()
                }
                let rules = try await kept(stage, gateway)
                #expect(
                    rules == Array(repeating: "full places/first", count: CircuitBreaker.tolerated) + ["full places/second"])
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `what a rule keeps at one place of a route holds at all of them, and the record says by which rule`() async throws {
        try await Stage.with { stage in
            try await stage.gateway(providers: [stage.provider("local", .anthropic)]) { gateway in
                try await stage.put(
                    gateway,
                    """
                    name: personal
                    default: next
                    rules:
                      - {id: some, resources: {providers: anthropic}, effect: keep, content: hashed}
                      - {id: least, resources: {providers: local}, effect: keep, content: none}
                    """)
                let targets = ["anthropic/\(Stage.model)", "local/\(Stage.model)"]
                for order in [targets, targets.reversed()] {
                    _ = try await gateway.routes.put(stage.user, name: "fast", targets: order)
                    _ = await gateway.call(stage.call(Stage.messages(model: "fast"), provider: "auto")).text()
                }
                #expect(
                    try await kept(stage, gateway) == [
                        "none default/default keep:personal/some keep:personal/least", "none default/default keep:personal/least",
                    ])
                try await stage.expectSound(gateway)
            }
        }
    }
}

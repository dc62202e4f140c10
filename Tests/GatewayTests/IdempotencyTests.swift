import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

/// A call with an `Idempotency-Key` is paid for once, whatever becomes of its clients and its servers.
@Suite struct IdempotencyTests {
    static func key(_ text: String) -> [(name: String, value: String)] { [(name: "Idempotency-Key", value: text)] }

    /// Counts requests, and answers each with a number of its own, when `goOn` fires.
    private final class Counted: Sendable {
        let requests = NIOLockedValueBox(0)
        let goOn = Signal()
        var count: Int { requests.withLockedValue { $0 } }

        init(waits: Bool = false) { if !waits { goOn.fire() } }

        var script: RawServer.Script {
            { connection in
                while let request = try await connection.request() {
                    let number = self.requests.withLockedValue { count in
                        count += 1
                        return count
                    }
                    let body = String(buffer: request.body)
                    if body.contains("\"stream\": true") || body.contains("\"stream\":true") {
                        let events =
                            request.path.contains("chat/completions")
                            ? Upstream.chatStream(["Answer \(number)."], usage: body.contains("\"include_usage\":true"))
                            : Upstream.messageStream(["Answer \(number)."])
                        try await connection.send(Upstream.head("text/event-stream") + Upstream.chunk(events[0]))
                        await self.goOn.wait()
                        try await connection.send(events.dropFirst().map(Upstream.chunk).joined() + Upstream.lastChunk)
                    } else {
                        await self.goOn.wait()
                        let answer = Upstream.message("Answer \(number).")
                        try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
                    }
                }
            }
        }
    }

    private func replays(_ stage: Stage) async throws -> Int {
        try await stage.count(
            "ai_interceptions r",
            "r.status = 'replayed' AND r.hold = 0 AND EXISTS (SELECT FROM ai_ledger l WHERE l.interception_id = r.replay_of)")
    }

    @Test func `a repeat gets the recorded answer byte for byte and is not paid`() async throws {
        let upstream = Counted()
        try await Stage.with(upstream.script) { stage in
            try await stage.gateway { gateway in
                for stream in [false, true] {
                    let (body, headers) = (Stage.messages(stream: stream), Self.key("one \(stream)"))
                    let first = await gateway.call(stage.call(body, headers: headers))
                    let text = await first.text()
                    let again = await gateway.call(stage.call(body, headers: headers))
                    #expect(await again.text() == text)
                    #expect(again.status == first.status)
                    #expect(again.header("content-type") == first.header("content-type"))
                    #expect(again.header("x-slipway-replay-of") == first.header("x-slipway-interception-id"))
                    #expect(again.header("x-slipway-interception-id") != first.header("x-slipway-interception-id"))
                }
                #expect(upstream.count == 2)
                #expect(try await stage.ledger().count == 2)
                #expect(try await replays(stage) == 2)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a stream whose usage was not asked for is replayed without it`() async throws {
        let upstream = Counted()
        try await Stage.with(upstream.script) { stage in
            try await stage.gateway { gateway in
                let call: @Sendable () -> GatewayCall = {
                    stage.call(Stage.chat(stream: true), provider: "openai", headers: Self.key("k"))
                }
                let first = await gateway.call(call()).text()
                let again = await gateway.call(call()).text()
                #expect(first == again && first.contains("Answer 1.") && !first.contains("prompt_tokens"))
                let states = try await stage.ledger().map(\.state)
                #expect(states == ["final"])
            }
        }
    }

    @Test func `repeats that come meanwhile read along, and one call is paid`() async throws {
        let upstream = Counted(waits: true)
        try await Stage.with(upstream.script) { stage in
            try await stage.gateway { gateway in
                let call: @Sendable () -> GatewayCall = { stage.call(Stage.messages(stream: true), headers: Self.key("k")) }
                let first = await gateway.call(call())
                let texts = try await withThrowingTaskGroup(of: String.self) { group in
                    group.addTask { await first.text() }
                    var others: [GatewayAnswer] = []
                    // All of them have the head before the upstream goes on.
                    for _ in 0..<5 { others.append(await gateway.call(call())) }
                    for other in others { group.addTask { await other.text() } }
                    upstream.goOn.fire()
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(Set(texts).count == 1 && texts.count == 6)
                #expect(texts[0].contains("message_stop"))
                #expect(upstream.count == 1)
                try await eventually { try await stage.ledger().count == 1 }
                #expect(try await replays(stage) == 5)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a repeat on another replica waits for the end and gets the record`() async throws {
        let upstream = Counted(waits: true)
        try await Stage.with(upstream.script) { stage in
            try await stage.gateway { one in
                try await stage.gateway { two in
                    for stream in [false, true] {
                        let call: @Sendable () -> GatewayCall = {
                            stage.call(Stage.messages("\(stream)", stream: stream), headers: Self.key("k\(stream)"))
                        }
                        async let first = one.call(call()).text()
                        try await eventually { try await stage.count("ai_idempotency_keys") == (stream ? 2 : 1) }
                        async let second = two.call(call())
                        // It has found the key taken: nothing of it is on record, and it waits.
                        try await eventually { two.inFlight == 1 }
                        upstream.goOn.fire()
                        let again = await second
                        #expect(again.status == 200)
                        #expect(await again.text() == (await first))
                    }
                    #expect(upstream.count == 2)
                    #expect(try await replays(stage) == 2)
                    try await stage.expectSound(one)
                }
            }
        }
    }

    @Test func `a client that leaves finds its answer when it comes back`() async throws {
        for stream in [false, true] {
            let upstream = Counted(waits: true)
            try await Stage.with(upstream.script) { stage in
                try await stage.gateway { gateway in
                    let call: @Sendable () -> GatewayCall = { stage.call(Stage.messages(stream: stream), headers: Self.key("k")) }
                    let task = Task { await gateway.call(call()).text() }
                    try await eventually { upstream.count == 1 }
                    task.cancel()
                    _ = await task.value
                    upstream.goOn.fire()
                    #expect(await gateway.call(call()).text().contains("Answer 1."))
                    #expect(upstream.count == 1)
                    try await eventually { try await stage.ledger().first?.status == "completed" }
                }
            }
        }
    }

    @Test func `the same key for another body, path or provider is refused, and on record`() async throws {
        let upstream = Counted()
        try await Stage.with(upstream.script) { stage in
            let other = try await Stage.makeUser(stage.pool, "grace")
            try await stage.gateway { gateway in
                _ = await gateway.call(stage.call(Stage.messages("a"), headers: Self.key("k"))).text()
                for call in [
                    stage.call(Stage.messages("b"), headers: Self.key("k")),
                    stage.call(Stage.messages("a"), route: "v1/messages?beta=true", headers: Self.key("k")),
                    stage.call(Stage.messages("a"), provider: "openai", route: "v1/messages", headers: Self.key("k")),
                ] {
                    let answer = await gateway.call(call)
                    #expect(answer.status == 409)
                    #expect(answer.header("x-should-retry") == "false")
                    #expect(await answer.text().contains("was used for another request"))
                }
                #expect(try await stage.count("ai_interceptions", "status = 'refused' AND error = 'conflict'") == 3)
                // Somebody else's key of the same name is another key.
                #expect(await gateway.call(stage.call(Stage.messages("b"), headers: Self.key("k"), as: other)).status == 200)
                for wrong in ["", String(repeating: "x", count: 256)] {
                    #expect(await gateway.call(stage.call(Stage.messages(), headers: Self.key(wrong))).status == 400)
                }
                let two = Self.key("a") + Self.key("b")
                #expect(await gateway.call(stage.call(Stage.messages(), headers: two)).status == 400)
                #expect(upstream.count == 2)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `what cost nothing is made again, what broke off and was paid is not`() async throws {
        let number = NIOLockedValueBox(0)
        let script: RawServer.Script = { connection in
            while try await connection.request() != nil {
                switch number.withLockedValue({
                    $0 += 1; return $0
                }) {
                case 1: try await connection.send(Upstream.head(status: "429 Too Many Requests", length: 2) + "{}")
                case 2:
                    let events = Upstream.messageStream(["half"]).prefix(4)
                    try await connection.send(Upstream.head("text/event-stream") + events.map(Upstream.chunk).joined())
                    return
                default: Issue.record("a third request")
                }
            }
        }
        try await Stage.with(script) { stage in
            try await stage.gateway { gateway in
                let call: @Sendable () -> GatewayCall = { stage.call(Stage.messages(stream: true), headers: Self.key("k")) }
                let limited = await gateway.call(call())
                _ = await limited.text()
                #expect(limited.status == 429)
                // Who comes while an answer is still being handed out reads along, whatever it is.
                try await eventually { gateway.keyed.isEmpty }
                let broken = await gateway.call(call())
                #expect(await broken.text().contains("half"))
                try await eventually { gateway.keyed.isEmpty }
                let third = await gateway.call(call())
                #expect(third.status == 409)
                let text = await third.text()
                #expect(text.contains("it broke off") && text.contains(broken.header("x-slipway-interception-id") ?? "-"))
                #expect(try await stage.ledger().map(\.status) == ["failed", "failed"])
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a call that a dead server left open is told of, and not made again`() async throws {
        let upstream = Counted(waits: true)
        try await Stage.with(upstream.script) { stage in
            try await stage.gateway { alive in
                let call: @Sendable () -> GatewayCall = { stage.call(Stage.messages(stream: true), headers: Self.key("k")) }
                try await stage.gateway(isAlive: false) { dead in
                    let stream = await dead.call(call())
                    #expect(stream.status == 200)
                    async let second = alive.call(call())
                    try await eventually { alive.inFlight == 1 }
                    // Holds of replicas that are not known are looked at when they are four seconds old.
                    try await stage.pool.execute("UPDATE ai_holds SET created_at = now() - interval '1 minute'")
                    let answer = await second
                    #expect(answer.status == 409)
                    #expect(await answer.text().contains("the server that made it died with it open"))
                    upstream.goOn.fire()
                    _ = await stream.text()
                }
                #expect(upstream.count == 1)
                #expect(try await stage.ledger().map(\.state) == ["unknown"])
            }
        }
    }

    @Test func `where answers are not kept, a repeat is told so`() async throws {
        let upstream = Counted()
        try await Stage.with(upstream.script) { stage in
            try await stage.gateway { gateway in
                for mode in [ContentMode.hashed, .none] {
                    _ = try await gateway.rules.set(stage.user, mode: mode)
                    let call: @Sendable () -> GatewayCall = { stage.call(Stage.messages(), headers: Self.key(mode.rawValue)) }
                    let first = await gateway.call(call())
                    _ = await first.text()
                    #expect(first.status == 200)
                    // Until its end is known a repeat would read along.
                    try await eventually { gateway.keyed.isEmpty }
                    let again = await gateway.call(call())
                    #expect(again.status == 409)
                    #expect(await again.text().contains("content mode \(mode.rawValue)"))
                }
                #expect(upstream.count == 2)
            }
        }
    }

    @Test func `policies are asked about repeats, budgets and limits are not`() async throws {
        let upstream = Counted()
        try await Stage.with(upstream.script) { stage in
            try await stage.gateway { gateway in
                let call: @Sendable () -> GatewayCall = { stage.call(Stage.messages(), headers: Self.key("k")) }
                #expect(await gateway.call(call()).status == 200)
                try await stage.setCap("0", gateway)
                #expect(await gateway.call(stage.call(Stage.messages())).status == 402)
                #expect(await gateway.call(call()).status == 200)
                try await gateway.modelPolicies.put(stage.user, name: "other", models: ["openai/*"], roles: [], users: [])
                #expect(await gateway.call(call()).status == 403)
                #expect(upstream.count == 1)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a repeat under a limit of one call at a time does not wait for a place behind its first`() async throws {
        let upstream = Counted(waits: true)
        try await Stage.with(upstream.script) { stage in
            try await stage.gateway { one in
                try await stage.gateway { two in
                    try await one.limits.put(stage.user, name: "one", .init(bounds: .init(concurrency: 1)))
                    try await two.settings.refresh()
                    let call: @Sendable () -> GatewayCall = { stage.call(Stage.messages(), headers: Self.key("k")) }
                    async let first = one.call(call()).text()
                    try await eventually { try await stage.count("ai_idempotency_keys") == 1 }
                    async let second = two.call(call())
                    try await eventually { two.inFlight == 1 }
                    #expect(two.gate.waiting == 0)
                    upstream.goOn.fire()
                    #expect(await second.status == 200)
                    #expect(await first.contains("Answer 1."))
                    try await stage.expectSound(one)
                }
            }
        }
    }

    @Test func `a key names another request when its day is over, and is swept`() async throws {
        let upstream = Counted()
        try await Stage.with(upstream.script) { stage in
            try await stage.gateway { gateway in
                _ = await gateway.call(stage.call(Stage.messages("a"), headers: Self.key("k"))).text()
                let days = try await stage.pool.query(
                    "SELECT expires_at - now() BETWEEN interval '23 hours' AND interval '24 hours' AS is_day FROM ai_idempotency_keys"
                )
                #expect(try days[0]["is_day", as: Bool.self])
                try await stage.pool.execute("UPDATE ai_idempotency_keys SET expires_at = now()")
                #expect(await gateway.call(stage.call(Stage.messages("b"), headers: Self.key("k"))).status == 200)
                try await stage.pool.execute("UPDATE ai_idempotency_keys SET expires_at = now()")
                try await KeyStore.sweep(stage.pool)
                #expect(try await stage.count("ai_idempotency_keys") == 0)
                #expect(upstream.count == 2)
            }
        }
    }

    @Test func `100 calls with 10 keys on two replicas at once are 10 calls of the provider`() async throws {
        let upstream = Counted()
        try await Stage.with(upstream.script) { stage in
            try await stage.gateway { one in
                try await stage.gateway { two in
                    let texts = await withTaskGroup(of: (Int, String).self) { group in
                        for number in 0..<100 {
                            let call = stage.call(Stage.messages("\(number % 10)"), headers: Self.key("k\(number % 10)"))
                            group.addTask { (number % 10, await (number % 20 < 10 ? one : two).call(call).text()) }
                        }
                        return await group.reduce(into: [Int: Set<String>]()) { $0[$1.0, default: []].insert($1.1) }
                    }
                    #expect(texts.values.allSatisfy { $0.count == 1 }, "\(texts.values.filter { $0.count > 1 })")
                    #expect(upstream.count == 10)
                    #expect(try await stage.ledger().count == 10)
                    #expect(try await replays(stage) == 90)
                    try await stage.expectSound(one)
                }
            }
        }
    }

    // MARK: Values

    @Test func `the rule of repeats is whole`() {
        func first(_ status: String, _ cost: Int64?, _ mode: ContentMode = .full) -> KeyRule.First {
            .init(id: InterceptionID(), status: status, cost: cost.map { NanoDollars($0) }, contentMode: mode)
        }
        guard case .refuse = KeyRule(nil) else {
            Issue.record("a call that was removed")
            return
        }
        #expect(KeyRule(first("open", nil)) == .wait)
        #expect(KeyRule(first("completed", 5)) == .replay)
        #expect(KeyRule(first("completed", 0)) == .replay)
        for status in ["failed", "cut", "client_left", "unknown"] {
            #expect(KeyRule(first(status, 0)) == .again)
            guard case .refuse(let why) = KeyRule(first(status, 5)) else {
                Issue.record("\(status) was paid and is not refused")
                continue
            }
            #expect(why.contains("with a new one"))
        }
        guard case .refuse = KeyRule(first("completed", 5, .hashed)) else {
            Issue.record("an answer that is not kept")
            return
        }
    }

    @Test func `a shared answer is bounded by its slowest reader once it is too long to be kept`() async throws {
        let answer = SharedAnswer(first: InterceptionID(), requestHash: Data())
        let slow = try #require(answer.reader())
        let megabyte = ByteBuffer(repeating: 7, count: 1 << 20)
        let written = NIOLockedValueBox(0)
        let writer = Task {
            for _ in 0..<100 {
                try await answer.append(megabyte)
                written.withLockedValue { $0 += 1 }
            }
            answer.end()
        }
        try await eventually { written.withLockedValue { $0 } == 32 }
        // The next one waits for the reader.
        var read = 0
        while await slow.next() != nil { read += 1 }
        #expect(read == 100)
        try await writer.value
        #expect(answer.reader() == nil)
    }
}

import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite struct CacheWatchTests {
    private static let start = ContinuousClock.now

    private func call(_ messages: Int, cached: Int, input: Int, at seconds: Int) -> CacheWatch.Call {
        .init(
            id: InterceptionID(), messages: messages, cached: cached, input: input, began: Self.start + .seconds(seconds),
            ended: Self.start + .seconds(seconds + 1))
    }

    private static let user = UserID()

    private static func key(_ session: String = "s", _ model: String = "m") -> CacheWatch.Key {
        .init(organization: Stage.organization, user: Self.user, session: session, provider: "p", model: model)
    }

    // MARK: The rule

    @Test(arguments: [
        // cached before, input before, cached now, input now, gap in seconds, collapsed
        (8000, 10_000, 0, 11_000, 10, true), (8000, 10_000, 1999, 11_000, 10, true), (8000, 10_000, 2000, 11_000, 10, false),
        (4999, 10_000, 0, 11_000, 10, false), (5000, 10_000, 0, 11_000, 10, true), (1023, 1100, 0, 2000, 10, false),
        (1024, 1100, 0, 2000, 10, true), (8000, 10_000, 0, 7999, 10, false), (8000, 10_000, 0, 11_000, 301, true),
        (8000, 10_000, 0, 11_000, 302, false),
    ])
    func `a cache has collapsed when the stated thresholds say so`(
        cached: Int, input: Int, cachedNow: Int, inputNow: Int, gap: Int, collapsed: Bool
    ) {
        var watch = CacheWatch()
        #expect(watch.ended(call(1, cached: cached, input: input, at: 0), of: Self.key()) == nil)
        let found = watch.ended(call(3, cached: cachedNow, input: inputNow, at: gap), of: Self.key())
        #expect((found != nil) == collapsed)
        #expect(found == nil || found?.before.cached == cached)
    }

    @Test func `a call follows the longest conversation that it can go on, so sub-agents raise no alarm`() {
        var watch = CacheWatch()
        #expect(watch.ended(call(9, cached: 9000, input: 10_000, at: 0), of: Self.key()) == nil)
        // A sub-agent begins, and goes on.
        #expect(watch.ended(call(1, cached: 0, input: 12_000, at: 1), of: Self.key()) == nil)
        #expect(watch.ended(call(3, cached: 11_000, input: 12_500, at: 2), of: Self.key()) == nil)
        // Both lose their caches; each is told from its own last call.
        #expect(watch.ended(call(11, cached: 0, input: 11_000, at: 3), of: Self.key())?.before.messages == 9)
        #expect(watch.ended(call(5, cached: 0, input: 13_000, at: 4), of: Self.key())?.before.messages == 3)
    }

    @Test func `sessions and models are apart, and old ones are forgotten`() {
        var watch = CacheWatch(.init(mostSessions: 10))
        #expect(watch.ended(call(1, cached: 9000, input: 10_000, at: 0), of: Self.key("a")) == nil)
        #expect(watch.ended(call(3, cached: 0, input: 10_000, at: 1), of: Self.key("b")) == nil)
        #expect(watch.ended(call(3, cached: 0, input: 10_000, at: 1), of: Self.key("a", "other")) == nil)
        for n in 0..<20 { #expect(watch.ended(call(1, cached: 0, input: 1, at: 2), of: Self.key("x\(n)")) == nil) }
        #expect(watch.ended(call(3, cached: 0, input: 10_000, at: 3), of: Self.key("a")) == nil)
    }

    // MARK: The difference

    private func difference(_ earlier: String, _ later: String) -> RequestDifference? {
        RequestDifference.find(earlier: ByteBuffer(string: earlier), later: ByteBuffer(string: later))
    }

    @Test func `the first difference is named by field, message and byte`() throws {
        let earlier =
            #"{"model":"m","messages":[{"role":"user","content":"one"},{"role":"assistant","content":"two"}],"system":"be good","tools":[{"name":"t"}]}"#
        func changed(_ old: String, _ new: String) throws -> String {
            let later = earlier.replacing(old, with: new)
            let found = try #require(difference(earlier, later))
            let there = later.utf8.dropFirst(found.offset).first.map { String(UnicodeScalar($0)) } ?? "end"
            return "\(found.place) \(found.message.map(String.init) ?? "-") \(there)"
        }
        #expect(try changed("one", "onX") == "messages[0] 0 X")
        #expect(try changed("two", "twoo") == "messages[1] 1 o")
        #expect(try changed("be good", "be bad") == "system - b")
        // What comes first in the prompt comes first, wherever it stands in the body.
        #expect(
            try changed(
                "one\"},{\"role\":\"assistant\",\"content\":\"two\"}],\"system\":\"be good\",\"tools\":[{\"name\":\"t\"",
                "x\"},{\"role\":\"assistant\",\"content\":\"two\"}],\"system\":\"be good\",\"tools\":[{\"name\":\"u\"")
                == "tools - u")
        #expect(try changed(#",{"role":"assistant","content":"two"}"#, "") == "messages[1] 1 }")
        #expect(try changed(#""tools":[{"name":"t"}]"#, #""max_tokens":5"#) == "tools - }")
    }

    @Test func `a longer conversation, moved cache marks and other white space are no difference`() {
        let earlier =
            #"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a, \"b\"","cache_control":{"type":"ephemeral","ttl":"1h"}}]}],"tools":[{"name":"t","cache_control":{"type":"ephemeral"}}]}"#
        let later = """
            { "messages": [ {"role": "user", "content": [ {"cache_control": {"type": "ephemeral"}, "type": "text", "text": "a, \\"b\\""} ]},
              {"role":"assistant","content":"x"} ], "model": "m", "tools": [ {"name": "t"} ] }
            """
        #expect(difference(earlier, later) == nil)
        // A text that only speaks of marks counts.
        #expect(
            difference(#"{"messages":[{"content":"\"cache_control\":{}"}]}"#, #"{"messages":[{"content":""}]}"#)?.place
                == "messages[0]")
        #expect(difference("nonsense", "{}") == nil)
    }

    @Test func `an excerpt is cut at the body's ends`() {
        let body = ByteBuffer(string: "0123456789")
        #expect(RequestDifference.excerpt(body, at: 5, reach: 2) == "3456")
        #expect(RequestDifference.excerpt(body, at: 0, reach: 2) == "01")
        #expect(RequestDifference.excerpt(body, at: 10, reach: 2) == "89")
        #expect(RequestDifference.excerpt(body, at: 99, reach: 2) == "")
    }

    // MARK: The alarm

    @Test func `a call that loses its session's cache is named with the place where its request differs`() async throws {
        let answers = NIOLockedValueBox([
            Upstream.message(input: 500, extra: #","cache_read_input_tokens":9000"#), Upstream.message(input: 9600),
        ])
        let script: RawServer.Script = { connection in
            while try await connection.request() != nil {
                let answer = answers.withLockedValue { $0.removeFirst() }
                try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
            }
        }
        try await Stage.with(script) { stage in
            try await stage.gateway { gateway in
                func body(_ system: String, _ more: String) -> String {
                    #"{"model":"\#(Stage.model)","max_tokens":300,"system":"It is \#(system).","messages":[{"role":"user","content":"go"}\#(more)]}"#
                }
                let more = #",{"role":"assistant","content":"Hello."},{"role":"user","content":"on"}"#
                let calls = [
                    stage.call(body("12:00", ""), headers: [("x-claude-code-session-id", "s1")]),
                    stage.call(body("12:01", more), headers: [("x-claude-code-session-id", "s1")]),
                ]
                for call in calls {
                    _ = await gateway.call(call).text()
                    try await eventually { try await stage.count("ai_contents", "interception_id = '\(call.id)'") == 2 }
                }
                try await eventually { try await stage.count("ai_cache_collapses") == 1 }
                let found = try #require(try await gateway.interceptions.get(.own(stage.user), calls[1].id).cacheCollapse)
                #expect(found.previous == calls[0].id && found.cachedBefore == 9000 && found.cachedNow == 0)
                #expect(found.place == "system" && found.message == nil)
                #expect(found.excerpt?.contains("It is 12:01.") == true && found.previousExcerpt?.contains("It is 12:00.") == true)
                #expect(body("12:01", more).utf8.dropFirst(found.offset ?? 0).first == UInt8(ascii: "1"))
                #expect(gateway.metrics().contains("slipway_gateway_cache_collapses_total{"))
                #expect(try await gateway.interceptions.get(.own(stage.user), calls[0].id).cacheCollapse == nil)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `two people's sessions of one name are apart, and neither is shown what the other asked`() async throws {
        let answers = NIOLockedValueBox([
            Upstream.message(input: 500, extra: #","cache_read_input_tokens":9000"#), Upstream.message(input: 9600),
        ])
        let script: RawServer.Script = { connection in
            while try await connection.request() != nil {
                let answer = answers.withLockedValue { $0.removeFirst() }
                try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
            }
        }
        try await Stage.with(script) { stage in
            let other = try await Stage.makeUser(stage.pool, "bob")
            try await stage.gateway { gateway in
                let calls = [
                    stage.call(Stage.messages("a secret of ada"), headers: [("x-claude-code-session-id", "s1")]),
                    stage.call(Stage.messages("mine"), headers: [("x-claude-code-session-id", "s1")], as: other),
                ]
                for call in calls {
                    _ = await gateway.call(call).text()
                    try await eventually { try await stage.count("ai_contents", "interception_id = '\(call.id)'") == 2 }
                }
                #expect(!gateway.metrics().contains("slipway_gateway_cache_collapses_total{"))
                // What was put down before they were told apart.
                try await stage.pool.execute(
                    """
                    INSERT INTO ai_cache_collapses (interception_id, organization_id, previous_id, cached_before, cached_now, place,
                                                    message, byte_offset, previous_offset)
                    VALUES (\(calls[1].id), \(Stage.organization), \(calls[0].id), 9000, 0, 'messages[0]', 0, 150, 150)
                    """)
                #expect(try await gateway.interceptions.get(.own(other), calls[1].id).cacheCollapse == nil)
            }
        }
    }
}

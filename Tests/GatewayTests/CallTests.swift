import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite struct CallTests {
    @Test func `a plain call of each protocol is answered byte for byte, recorded, priced and settled`() async throws {
        for (provider, body, expected) in [
            ("anthropic", Stage.messages(), Upstream.message()), ("openai", Stage.chat(), Upstream.completion()),
        ] {
            try await Stage.with { stage in
                try await stage.gateway { gateway in
                    let call = stage.call(body, provider: provider)
                    let answer = await gateway.call(call)
                    let text = await answer.text()
                    try #require(answer.status == 200, "\(text)")
                    #expect(answer.header("x-slipway-interception-id") == call.id.description)
                    #expect(text == expected)
                    try await eventually { try await stage.count("ai_ledger") == 1 }
                    let line = try await stage.ledger()[0]
                    #expect(line.state == "final" && line.status == "completed" && line.httpStatus == 200)
                    #expect(line.input == 10 && line.output == 5)
                    #expect(line.cost == NanoDollars(10_000 + 50_000))
                    #expect(line.hold > line.cost && line.overrun == .zero)
                    let budget = try await gateway.budgets.show(stage.user, user: stage.user.user)
                    #expect(budget.spent == line.cost && budget.held == .zero && budget.cap == nil)
                    await gateway.drain(grace: .seconds(1))
                    let detail = try await gateway.interceptions.get(.own(stage.user), call.id)
                    #expect(detail.interception.prompt == "hi" && detail.answer == "Hello." && detail.content == "complete")
                    #expect(try await gateway.recordedAnswer(call.id, for: stage.user).map { String(buffer: $0.body) } == expected)
                    try await stage.expectSound(gateway)
                }
            }
        }
    }

    @Test func `whoever made a call hears what was booked for it, once the ledger has it`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                for body in [Stage.messages(), Stage.messages(stream: true)] {
                    var call = stage.call(body)
                    let booking = Booking()
                    call.booking = booking
                    let answer = await gateway.call(call)
                    #expect(answer.status == 200)
                    _ = await answer.text()
                    let cost = try #require(await booking.cost(within: .seconds(30)))
                    // No waiting here: the row is there.
                    #expect(try await stage.ledger().contains { $0.cost == cost && cost > .zero })
                }
                // Refused, so never booked.
                var refused = stage.call(Stage.messages(model: "unheard-of"))
                let booking = Booking()
                refused.booking = booking
                #expect(await gateway.call(refused).status == 403)
                #expect(await booking.cost(within: .milliseconds(1)) == nil)
            }
        }
    }

    @Test func `a streamed call of each protocol passes byte for byte, with unknown events and odd white space`() async throws {
        for (provider, body, events) in [
            ("anthropic", Stage.messages(stream: true), Upstream.messageStream(["Hello."])),
            (
                "openai", Stage.chat(stream: true, extra: #""stream_options":{"include_usage":true},"#),
                Upstream.chatStream(["Hello."], usage: true)
            ),
            // The gateway asks for the usage itself and takes it out again.
            ("openai", Stage.chat(stream: true), Upstream.chatStream(["Hello."], usage: false)),
        ] {
            try await Stage.with { stage in
                try await stage.gateway { gateway in
                    let call = stage.call(body, provider: provider)
                    let answer = await gateway.call(call)
                    #expect(answer.status == 200 && answer.header("content-type") == "text/event-stream")
                    #expect(await answer.text() == events.joined())
                    try await eventually { try await stage.count("ai_ledger") == 1 }
                    let line = try await stage.ledger()[0]
                    #expect(line.state == "final" && line.status == "completed")
                    #expect(line.input == 10 && line.output == 5)
                    await gateway.drain(grace: .seconds(1))
                    #expect(try await gateway.interceptions.get(.own(stage.user), call.id).answer == "Hello.")
                    try await stage.expectSound(gateway)
                }
            }
        }
    }

    @Test func `the upstream gets the client's bytes and headers, the provider's key and no credential of the client`() async throws
    {
        let seen = NIOLockedValueBox<(head: String, body: String)>(("", ""))
        try await Stage.with({ connection in
            while let request = try await connection.request() {
                seen.withLockedValue { $0 = (request.head, String(buffer: request.body)) }
                let answer = Upstream.message()
                try await connection.send(
                    Upstream.head(
                        length: answer.utf8.count, extra: "Set-Cookie: a=b\r\nrequest-id: up-1\r\nX-Odd: 1\r\nX-Odd: 2\r\n")
                        + answer)
            }
        }) { stage in
            try await stage.gateway { gateway in
                let body = Stage.messages("odd \\u00e9 \\ud83d\\ude00  white   space")
                let answer = await gateway.call(
                    stage.call(
                        body, route: "v1/messages?beta=true",
                        headers: [
                            ("Authorization", "Bearer slipway-token"), ("X-Api-Key", "slipway-token"), ("Cookie", "c=d"),
                            ("Anthropic-Version", "2023-06-01"), ("anthropic-beta", "one,two"), ("X-Future", "ü"),
                            ("Connection", "x-hop"),
                            ("X-Hop", "1"), ("Accept-Encoding", "gzip"), ("Content-Type", "application/json"),
                        ]))
                #expect(await answer.text() == Upstream.message())
                #expect(answer.headers.filter { $0.name == "X-Odd" }.map(\.value) == ["1", "2"])
                #expect(answer.header("request-id") == "up-1" && answer.header("set-cookie") == nil)
                let (head, sent) = seen.withLockedValue { $0 }
                #expect(sent == body)
                let lines = head.components(separatedBy: "\r\n")
                #expect(lines[0] == "POST /v1/messages?beta=true HTTP/1.1")
                #expect(lines.contains("Anthropic-Version: 2023-06-01") && lines.contains("anthropic-beta: one,two"))
                #expect(lines.contains("x-api-key: sk-secret-of-the-provider") && lines.contains("accept-encoding: identity"))
                #expect(
                    !head.contains("slipway-token") && !head.lowercased().contains("cookie") && !head.lowercased().contains("x-hop")
                )
            }
        }
    }

    @Test func `errors of the provider pass unchanged and cost nothing`() async throws {
        let error = #"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#
        try await Stage.with(
            Upstream.bytes(Upstream.head(status: "529 Overloaded", length: error.utf8.count, extra: "retry-after: 7\r\n"), error)
        ) { stage in
            try await stage.gateway { gateway in
                for stream in [false, true] {
                    let answer = await gateway.call(stage.call(Stage.messages(stream: stream)))
                    #expect(answer.status == 529 && answer.header("retry-after") == "7")
                    #expect(await answer.text() == error)
                }
                try await eventually { try await stage.count("ai_ledger") == 2 }
                for line in try await stage.ledger() {
                    #expect(line.state == "final" && line.status == "failed" && line.cost == .zero && line.httpStatus == 529)
                    #expect(line.error == "overloaded_error: Overloaded")
                }
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `bodies that cannot be judged are refused in the client's protocol with the field's name`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let bad = await gateway.call(stage.call(#"{"model": 3, "messages": []}"#))
                #expect(bad.status == 400)
                #expect(await bad.text().contains(#""type":"invalid_request_error""#))
                let twice = await gateway.call(stage.call(#"{"model":"a","model":"test-model","messages":[]}"#, provider: "openai"))
                #expect(twice.status == 400)
                #expect(await twice.text().contains("twice"))
                let nowhere = await gateway.call(stage.call("{}", provider: "nope"))
                #expect(nowhere.status == 404)
                #expect(await nowhere.text().contains("anthropic, azure, gemini, openai"))
                let route = await gateway.call(stage.call("{}", route: "v1/files"))
                #expect(route.status == 404)
                #expect(gateway.inFlight == 0)
                let recorded = try await stage.count("ai_interceptions")
                #expect(recorded == 0)
            }
        }
    }
}

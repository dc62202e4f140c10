import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

/// Time-outs, pings, and clients that leave.
@Suite struct CallSettingsTests {
    private func provider(_ stage: Stage, _ type: ProviderType, _ settings: CallSettings) -> Provider {
        var provider = stage.provider("mine", type)
        provider.settings = settings
        return provider
    }

    @Test func `what is set for a model counts before what is set for its provider`() throws {
        let settings = CallSettings(
            idleSeconds: 10, drainSeconds: 5,
            models: ["o*": .init(idleSeconds: 20), "o3*": .init(idleSeconds: 1200, pingSeconds: 5), "x": .init(totalSeconds: 3)])
        #expect(settings.of("gpt").idleSeconds == 10 && settings.of("o1").idleSeconds == 20)
        #expect(settings.of("o3-pro") == CallSettings(idleSeconds: 1200, pingSeconds: 5, drainSeconds: 5))
        let timeouts = settings.of("x").timeouts(.init())
        #expect(timeouts.idle == .seconds(10) && timeouts.total == .seconds(3) && timeouts.firstByte == .seconds(600))
        for bad in [
            CallSettings(firstByteSeconds: 0), .init(idleSeconds: 3601), .init(totalSeconds: -1), .init(pingSeconds: -1),
            .init(drainSeconds: 3601), .init(models: ["a": .init(idleSeconds: 0)]), .init(models: ["": .init()]),
            .init(models: ["a": .init(models: [:])]),
        ] { #expect(throws: AppError.self) { try bad.check() } }
    }

    @Test(arguments: [ProviderType.anthropic, .openai]) func `a stream that is silent pings its client between two events`(
        _ type: ProviderType
    ) async throws {
        let events =
            type == .anthropic
            ? Upstream.messageStream().filter { !$0.hasPrefix(":") } : Upstream.chatStream(usage: true)
        let ping = type == .anthropic ? "event: ping\ndata: {\"type\": \"ping\"}\n\n" : ": keep-alive\n\n"
        let goesOn = NIOLockedValueBox(false)
        try await Stage.with({ connection in
            guard try await connection.request() != nil else { return }
            // Half of an event is there already: no ping may stand inside of it.
            let half = String(events[1].prefix(20))
            try await connection.send(Upstream.head("text/event-stream") + Upstream.chunk(events[0]) + Upstream.chunk(half))
            try await eventually { goesOn.withLockedValue { $0 } }
            try await connection.send(
                Upstream.chunk(String(events[1].dropFirst(20))) + events.dropFirst(2).map(Upstream.chunk).joined()
                    + Upstream.lastChunk)
        }) { stage in
            try await stage.gateway(providers: [provider(stage, type, .init(pingSeconds: 1))]) { gateway in
                let body =
                    type == .anthropic
                    ? Stage.messages(stream: true) : Stage.chat(stream: true, extra: #""stream_options":{"include_usage":true},"#)
                let call = stage.call(
                    body, provider: "mine", route: type == .anthropic ? "v1/messages" : "v1/chat/completions")
                var text = ""
                for await piece in await gateway.call(call).body {
                    text += String(buffer: piece)
                    if text.contains(ping) { goesOn.withLockedValue { $0 = true } }
                }
                #expect(text.hasPrefix(events[0] + ping))
                #expect(text.replacingOccurrences(of: ping, with: "") == events.joined())
                try await eventually { try await stage.count("ai_ledger", "state = 'final'") == 1 }
                await gateway.drain(grace: .seconds(1))
                let recorded = try await gateway.recordedAnswer(call.id, for: stage.user)
                #expect(recorded.map { String(buffer: $0.body) } == events.joined())
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `when its client has left, a stream is read on for its usage, for as long as is set`() async throws {
        let ends = NIOLockedValueBox(true)
        let hasLeft = NIOLockedValueBox(false)
        try await Stage.with({ connection in
            let events = Upstream.messageStream(output: 77)
            guard try await connection.request() != nil else { return }
            try await connection.send(Upstream.head("text/event-stream") + events.prefix(4).map(Upstream.chunk).joined())
            try await eventually { hasLeft.withLockedValue { $0 } }
            if ends.withLockedValue({ $0 }) {
                try await connection.send(events.dropFirst(4).map(Upstream.chunk).joined() + Upstream.lastChunk)
            } else {
                await connection.untilClosed()
            }
        }) { stage in
            try await stage.gateway(providers: [provider(stage, .anthropic, .init(drainSeconds: 1))]) { gateway in
                for doesEnd in [true, false] {
                    ends.withLockedValue { $0 = doesEnd }
                    hasLeft.withLockedValue { $0 = false }
                    // As the server does when a connection ends: the task that reads is cancelled.
                    let answer = await gateway.call(stage.call(Stage.messages(stream: true), provider: "mine"))
                    let hasBegun = NIOLockedValueBox(false)
                    let reading = Task {
                        for await _ in answer.body { hasBegun.withLockedValue { $0 = true } }
                    }
                    try await eventually { hasBegun.withLockedValue { $0 } }
                    reading.cancel()
                    await reading.value
                    hasLeft.withLockedValue { $0 = true }
                    try await eventually { try await stage.count("ai_ledger") == (doesEnd ? 1 : 2) }
                }
                let lines = try await stage.ledger()
                #expect(lines.map(\.state) == ["drained", "estimated"] && lines.allSatisfy { $0.status == "client_left" })
                #expect(lines[0].input == 10 && lines[0].output == 77)
                try await eventually { gateway.inFlight == 0 }
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test(arguments: [false, true])
    func `when its client leaves before the answer begins, it is read on as long as is set`(stream: Bool) async throws {
        let (asked, answers) = (NIOLockedValueBox(0), NIOLockedValueBox(true))
        let hasLeft = NIOLockedValueBox(false)
        try await Stage.with({ connection in
            // The second call comes over the same connection.
            while try await connection.request() != nil {
                asked.withLockedValue { $0 += 1 }
                try await eventually { hasLeft.withLockedValue { $0 } }
                guard answers.withLockedValue({ $0 }) else { return await connection.untilClosed() }
                if stream {
                    let events = Upstream.messageStream(output: 77)
                    try await connection.send(Upstream.head("text/event-stream") + events.map(Upstream.chunk).joined())
                    try await connection.send(Upstream.lastChunk)
                } else {
                    let answer = Upstream.message(output: 77)
                    try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
                }
            }
        }) { stage in
            try await stage.gateway(providers: [provider(stage, .anthropic, .init(drainSeconds: 1))]) { gateway in
                for (number, doesAnswer) in [true, false].enumerated() {
                    answers.withLockedValue { $0 = doesAnswer }
                    hasLeft.withLockedValue { $0 = false }
                    let call = stage.call(Stage.messages(stream: stream), provider: "mine")
                    // As the server does: the task that asks is cancelled, and then the one that reads.
                    let task = Task {
                        let answer = await gateway.call(call)
                        for await _ in answer.body {}
                    }
                    try await eventually { asked.withLockedValue { $0 } == number + 1 }
                    task.cancel()
                    hasLeft.withLockedValue { $0 = true }
                    await task.value
                    try await eventually { try await stage.count("ai_ledger") == number + 1 }
                }
                let lines = try await stage.ledger()
                // A stream that was there as a whole when it was first read is a complete call, as it is when a client leaves at its end.
                let isWhole = stream && lines[0].state == "final" && lines[0].status == "completed"
                #expect(isWhole || lines[0].state == "drained" && lines[0].status == "client_left")
                #expect(lines[1].state == "estimated" && lines[1].status == "client_left")
                #expect(lines[0].input == 10 && lines[0].output == 77 && lines[0].httpStatus == 200)
                try await eventually { gateway.inFlight == 0 }
                try await stage.expectSound(gateway)
            }
        }
    }
}

import Core
import Foundation
import HTTPTransport
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite struct ReplayTests {
    // MARK: Rules

    @Test func `an address of a replay is read, and stored for its own organization alone`() throws {
        let other = OrganizationID()
        let address = try ReplayAddress(
            "replay://anthropic/organization=\(other)/speed=2.5/session=a%2Fb/days=30/v1/messages?beta=true")
        #expect(address.provider == "anthropic" && address.speed == 2.5 && address.session == "a/b" && address.days == 30)
        #expect(address.route == "v1/messages?beta=true")
        let stored = address.stored(for: Stage.organization)
        #expect(stored == "replay://anthropic/organization=\(Stage.organization)/speed=2.5/days=30/session=a%2Fb")
        #expect(try ReplayAddress(stored + "/v1/messages").organization == Stage.organization)
        for bad in [
            "replay://", "https://x", "replay://p/speed=fast", "replay://p/days=0", "replay://p/colour=red", "replay://p/speed=-1",
        ] {
            #expect(throws: AppError.self, "\(bad)") { _ = try ReplayAddress(bad) }
        }
    }

    @Test func `a stream is paced from its first byte to its end, event by event`() {
        let events = ["data: 1\n\n", "data: 2\r\n\r\n", "data: 3\n\n", ": tail"]
        let body = ByteBuffer(string: events.joined())
        func times(_ first: Duration?, _ speed: Double) -> [Int] {
            let pacing = ReplayPacing(body, isStream: true, firstByte: first, total: .milliseconds(400), speed: speed)
            #expect(pacing.pieces.map { String(buffer: $0.bytes) } == events)
            return pacing.pieces.map { Int(($0.at / .milliseconds(1)).rounded()) }
        }
        #expect(times(.milliseconds(100), 1) == [100, 200, 300, 400])
        #expect(times(nil, 1) == [100, 200, 300, 400])
        #expect(times(.milliseconds(100), 2) == [50, 100, 150, 200])
        #expect(times(.seconds(9), 0).allSatisfy { $0 == 0 })
        let whole = ReplayPacing(body, isStream: false, firstByte: .milliseconds(5), total: .milliseconds(400), speed: 4)
        #expect(whole.pieces == [.init(at: .milliseconds(100), bytes: body)])
    }

    // MARK: Replaying

    /// An upstream that answers each call once; then whoever asks it gets an error.
    private static func recording(_ count: Int) -> RawServer.Script {
        let left = NIOLockedValueBox(count)
        return { connection in
            while let request = try await connection.request() {
                let n = left.withLockedValue { left in
                    left -= 1
                    return left
                }
                let body = String(buffer: request.body)
                let isChat = request.path.contains("chat")
                if n < 0 {
                    try await connection.send(Upstream.head(status: "500 Gone", length: 0))
                } else if body.contains("\"stream\":true") || body.contains("\"stream\": true") {
                    let events =
                        isChat ? Upstream.chatStream(["answer \(n)"], usage: true) : Upstream.messageStream(["answer \(n)"])
                    try await connection.send(
                        Upstream.head("text/event-stream") + events.map(Upstream.chunk).joined() + Upstream.lastChunk)
                } else {
                    let answer = Upstream.message("answer \(n)")
                    try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
                }
            }
        }
    }

    private func withRecorded(
        _ calls: @escaping @Sendable (Stage) -> [GatewayCall],
        _ body: @escaping @Sendable (Stage, Gateway, [(GatewayCall, String)]) async throws -> Void
    ) async throws {
        try await Stage.with(Self.recording(10)) { stage in
            let admin = try await Stage.makeUser(stage.pool, "admin", roles: [.admin])
            try await stage.gateway { gateway in
                var recorded: [(GatewayCall, String)] = []
                for call in calls(stage) {
                    recorded.append((call, await gateway.call(call).text()))
                    try await eventually {
                        try await stage.count("ai_interceptions", "id = '\(call.id)' AND status = 'completed'") == 1
                    }
                    try await eventually {
                        try await stage.count("ai_contents", "interception_id = '\(call.id)' AND state = 'complete'") == 2
                    }
                }
                for (name, type) in [("anthropic", ProviderType.anthropic), ("openai", .openai)] {
                    _ = try await gateway.providers.create(
                        admin, name: "replayed-\(name)", type: type, .init(baseURL: "replay://\(name)/speed=0"))
                }
                try await body(stage, gateway, recorded)
                await gateway.drain(grace: .seconds(5))
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `the same request gets the recorded answer byte for byte, streamed or not, in both protocols`() async throws {
        try await withRecorded({ stage in
            [
                stage.call(Stage.messages("one")), stage.call(Stage.messages("two", stream: true)),
                stage.call(Stage.chat("three", stream: true), provider: "openai"),
                stage.call(
                    Stage.chat("four", stream: true, extra: #""stream_options":{"include_usage":true},"#), provider: "openai"),
            ]
        }) { stage, gateway, recorded in
            for (call, text) in recorded {
                let replayed = stage.call(String(buffer: call.body), provider: "replayed-\(call.provider)", route: call.route)
                let answer = await gateway.call(replayed)
                #expect(answer.status == 200 && answer.header("x-slipway-replayed") == call.id.description)
                #expect(await answer.text() == text)
            }
            try await eventually { try await stage.count("ai_ledger") == 8 }
        }
    }

    @Test func `a request that was not recorded is a clear 404 that names the nearest one`() async throws {
        try await withRecorded({ stage in [stage.call(Stage.messages("one")), stage.call(Stage.messages("two"))] }) {
            stage, gateway, recorded in
            let answer = await gateway.call(stage.call(Stage.messages("twx"), provider: "replayed-anthropic", route: "v1/messages"))
            let text = await answer.text()
            #expect(answer.status == 404)
            #expect(text.contains("not_found_error") && text.contains("No recorded request of the provider 'anthropic'"))
            #expect(text.contains("The nearest, ") && text.contains("differs at messages[0], byte"))
            #expect(recorded.contains { text.contains($0.0.id.description) })
            let none = await gateway.call(stage.call(Stage.chat("x"), provider: "replayed-openai", route: "v1/chat/completions"))
            #expect(await none.text().contains("There is none for this model."))
            // Errors cost nothing.
            try await eventually { try await stage.count("ai_ledger") == 4 }
            #expect(try await stage.count("ai_ledger", "cost = 0") == 2)
        }
    }

    @Test func `with a session named, what is not the same gets the session's answers in their order`() async throws {
        try await withRecorded({ stage in
            ["a", "b"].map { stage.call(Stage.messages($0), headers: [("x-claude-code-session-id", "run 1")]) }
        }) { stage, gateway, recorded in
            let admin = try await Stage.makeUser(stage.pool, "other", roles: [.admin])
            _ = try await gateway.providers.create(
                admin, name: "again", type: .anthropic, .init(baseURL: "replay://anthropic/speed=0/session=run%201"))
            for (index, prompt) in ["x", "y"].enumerated() {
                let answer = await gateway.call(stage.call(Stage.messages(prompt), provider: "again", route: "v1/messages"))
                #expect(await answer.text() == recorded[index].1)
            }
            #expect(await gateway.call(stage.call(Stage.messages("z"), provider: "again", route: "v1/messages")).status == 404)
        }
    }
}

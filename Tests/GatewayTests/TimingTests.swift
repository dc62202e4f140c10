import Core
import Foundation
import ModelAPI
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite struct TimingTests {
    // MARK: Rules

    private func times(_ chunks: [(Duration, Int)]) -> ChunkTimes {
        let began = ContinuousClock.now
        var times = ChunkTimes(since: began)
        for (at, count) in chunks { times.came(count, at: began + at) }
        return times
    }

    @Test func `a stream of few chunks has a mark for each, in a few bytes`() throws {
        #expect(times([]).encoded == nil)
        let encoded = try #require(times([(.milliseconds(900), 300), (.milliseconds(920), 80), (.seconds(100), 5)]).encoded)
        #expect(encoded.count == 1 + 4 + 2 + 4)
        let (marks, isExact) = try #require(ChunkTimes.decode(encoded))
        #expect(isExact)
        #expect(
            marks == [
                .init(at: .milliseconds(900), bytes: 300), .init(at: .milliseconds(920), bytes: 380),
                .init(at: .seconds(100), bytes: 385),
            ])
    }

    @Test func `a stream of any length has few marks, all of them true, the last one its end`() throws {
        for count in [2, 127, 128, 129, 500, 5000, 60_000] {
            let encoded = try #require(times((1...count).map { (.milliseconds(20 * $0), 130) }).encoded)
            #expect(encoded.count <= 400, "\(count)")
            let (marks, isExact) = try #require(ChunkTimes.decode(encoded))
            #expect(isExact == (count < 129) && marks.count >= min(count, 50), "\(count): \(marks.count)")
            #expect(marks.last == .init(at: .milliseconds(20 * count), bytes: 130 * count))
            #expect(marks.allSatisfy { $0.at == .milliseconds(20 * $0.bytes / 130) })
            #expect(zip(marks, marks.dropFirst()).allSatisfy { $0.bytes < $1.bytes })
        }
        // A clock that would go back makes no time negative.
        let odd = try #require(times([(.milliseconds(50), 1), (.milliseconds(-70), 1)]).encoded)
        #expect(ChunkTimes.decode(odd)?.marks.map(\.at) == [.milliseconds(50), .milliseconds(50)])
    }

    @Test func `what is no timing is not taken for one`() {
        for bytes in [[], [0], [1], [1, 5], [0, 1, 1], [1, 0x80], [1] + Array(repeating: UInt8(0xFF), count: 30)] as [[UInt8]] {
            #expect(ChunkTimes.decode(Data(bytes)) == nil, "\(bytes)")
        }
        #expect(ChunkTimes.decode(Data(repeating: 1, count: 5000)) == nil)
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            let bytes = (0..<Int.random(in: 0...60)).map { _ in UInt8.random(in: 0...255, using: &generator) }
            if let marks = ChunkTimes.decode(Data(bytes))?.marks {
                #expect(marks.allSatisfy { $0.at >= .zero && $0.bytes >= 0 })
                // However wrong, it is no reason to fail or to go back in time.
                let pieces = ReplayPacing(
                    ByteBuffer(string: "a\n\nb\n\nc\n\n"), isStream: true, firstByte: nil, total: .seconds(1), speed: 1,
                    timing: Data(bytes)
                ).pieces
                #expect(pieces.count == 3 && zip(pieces, pieces.dropFirst()).allSatisfy { $0.at <= $1.at }, "\(bytes)")
            }
        }
    }

    @Test func `a replay gives each event when its bytes came, and faster or at once where it is told so`() throws {
        let events = ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n", "data: 4\n\n"]
        let body = ByteBuffer(string: events.joined())
        let timing = try #require(times([(.milliseconds(300), 9), (.milliseconds(310), 18), (.milliseconds(900), 9)]).encoded)
        func at(_ speed: Double, _ timing: Data?) -> [Duration] {
            let pacing = ReplayPacing(
                body, isStream: true, firstByte: .milliseconds(100), total: .milliseconds(400), speed: speed, timing: timing)
            #expect(pacing.pieces.map { String(buffer: $0.bytes) } == events)
            return pacing.pieces.map(\.at)
        }
        #expect(at(1, timing) == [.milliseconds(300), .milliseconds(310), .milliseconds(310), .milliseconds(900)])
        #expect(at(10, timing) == [.milliseconds(30), .milliseconds(31), .milliseconds(31), .milliseconds(90)])
        #expect(at(0, timing).allSatisfy { $0 == .zero })
        // Without it, and with what is none, from the first byte to the end.
        #expect(at(1, nil) == [100, 200, 300, 400].map { .milliseconds($0) } && at(1, Data([9])) == at(1, nil))
        // Every second mark of a long one is gone: evenly between those that are left.
        let thinned = Data([2, 100, 18, 100, 18])
        #expect(at(1, thinned) == [100, 100, 150, 200].map { .milliseconds($0) })
    }

    // MARK: Calls

    /// The stream of `messageStream`, with this pause before its first text and before its end. It waits for nothing: an upstream's pauses
    /// are what is recorded here.
    private static let pause = Duration.milliseconds(120)

    private static let slow: RawServer.Script = { connection in
        while let request = try await connection.request() {
            let body = String(buffer: request.body)
            guard body.contains("\"stream\": true") || body.contains("\"stream\":true") else {
                let isChat = request.path.contains("chat/completions")
                let answer = isChat ? Upstream.completion() : Upstream.message()
                try await Task.sleep(for: pause)
                try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
                continue
            }
            let events = Upstream.messageStream(["a", "b"])
            try await connection.send(Upstream.head("text/event-stream") + events[..<3].map(Upstream.chunk).joined())
            try await Task.sleep(for: pause)
            try await connection.send(events[3..<5].map(Upstream.chunk).joined())
            try await Task.sleep(for: pause)
            try await connection.send(events[5...].map(Upstream.chunk).joined() + Upstream.lastChunk)
        }
    }

    private func firstToken(_ stage: Stage, _ gateway: Gateway, _ call: GatewayCall) async throws -> Duration? {
        await gateway.settle.idle()
        await gateway.content.idle()
        return try await gateway.interceptions.get(.own(stage.user), call.id).interception.firstToken
    }

    @Test func `the time of the first content is on record, of a stream, a translated stream, and a whole answer`() async throws {
        try await Stage.with(Self.slow) { stage in
            try await stage.gateway { gateway in
                let calls = [
                    stage.call(Stage.messages(stream: true)), stage.call(Stage.messages()),
                    // Chat in, Messages upstream.
                    stage.call(Stage.chat(stream: true), provider: "anthropic", route: "v1/chat/completions"),
                ]
                for call in calls {
                    let began = ContinuousClock.now
                    let answer = await gateway.call(call)
                    #expect(answer.status == 200)
                    var text = ""
                    var seen: Duration?
                    for await piece in answer.body {
                        text += String(buffer: piece)
                        if seen == nil, text.contains(/"(text|content)":"(a|Hello.)"/) { seen = began.duration(to: .now) }
                    }
                    let first = try #require(try await firstToken(stage, gateway, call))
                    let latest = try #require(seen)
                    #expect(first >= Self.pause - .milliseconds(2) && first <= latest, "\(first), seen after \(latest)")
                }
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
                // The chain covers it.
                try await stage.pool.execute(
                    "UPDATE ai_interceptions SET first_token_ms = first_token_ms + 1 WHERE id = \(calls[0].id)")
                let problems = try await gateway.audit.verify().problems
                #expect(problems.count == 1 && problems[0].message.contains("was changed"), "\(problems)")
            }
        }
    }

    @Test func `an error and a stream without content have no first token`() async throws {
        let empty = Upstream.messageStream([])
        try await Stage.with({ connection in
            while let request = try await connection.request() {
                if String(buffer: request.body).contains("\"stream\": true") {
                    try await connection.send(
                        Upstream.head("text/event-stream") + empty.map(Upstream.chunk).joined() + Upstream.lastChunk)
                } else {
                    try await connection.send(Upstream.head(status: "400 Bad Request", length: 2) + "{}")
                }
            }
        }) { stage in
            try await stage.gateway { gateway in
                for call in [stage.call(Stage.messages(stream: true)), stage.call(Stage.messages())] {
                    _ = await gateway.call(call).text()
                    #expect(try await firstToken(stage, gateway, call) == nil)
                }
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a replay takes the pauses that were recorded`() async throws {
        try await Stage.with(Self.slow) { stage in
            let admin = try await Stage.makeUser(stage.pool, "admin", roles: [.admin])
            try await stage.gateway { gateway in
                let call = stage.call(Stage.messages(stream: true))
                let text = await gateway.call(call).text()
                await gateway.settle.idle()
                await gateway.content.idle()
                let body = try #require(try await gateway.contentStore.body(Stage.organization, call.id, .answer))
                let (marks, isExact) = try #require(body.timing.flatMap { ChunkTimes.decode($0) })
                #expect(isExact && marks.last?.bytes == body.bytes.count && marks.count >= 3)
                _ = try await gateway.providers.create(
                    admin, name: "again", type: .anthropic, .init(baseURL: "replay://anthropic"))
                _ = try await gateway.providers.create(
                    admin, name: "at-once", type: .anthropic, .init(baseURL: "replay://anthropic/speed=0"))
                for (provider, isTimed) in [("again", true), ("at-once", false)] {
                    let began = ContinuousClock.now
                    let answer = await gateway.call(
                        stage.call(String(buffer: call.body), provider: provider, route: call.route))
                    var all = ByteBuffer()
                    for await var piece in answer.body {
                        let before = all.readableBytes
                        all.writeBuffer(&piece)
                        // Nothing comes before its time; how late it is says how busy the machine is.
                        let newest = marks.last { $0.bytes > before && $0.bytes <= all.readableBytes }
                        if isTimed, let newest { #expect(began.duration(to: .now) >= newest.at) }
                    }
                    #expect(String(buffer: all) == text)
                }
                // Hashed content has no timing either.
                #expect(try await stage.count("ai_contents", "part = 'request' AND timing IS NOT NULL") == 0)
            }
        }
    }
}

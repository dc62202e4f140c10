import Core
import Foundation
import HTTPTransport
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Gateway

@Suite struct FaultTests {
    fileprivate static func half(_ events: [String] = Array(Upstream.messageStream(["Hel"]).prefix(4))) -> String {
        Upstream.head("text/event-stream") + events.map(Upstream.chunk).joined()
    }

    @Test func `an upstream that dies in mid-stream ends in an error event of the protocol and is booked as estimated`()
        async throws
    {
        let dying: RawServer.Script = { connection in
            guard let request = try await connection.request() else { return }
            if request.path.contains("chat") {
                try await connection.send(FaultTests.half(Array(Upstream.chatStream(["Hel"], usage: false).prefix(1))))
            } else {
                // And half an event, which the client must not see.
                try await connection.send(
                    FaultTests.half() + Upstream.chunk("event: content_block_delta\ndata: {\"type\":\"half-of-it"))
            }
        }
        try await Stage.with(dying) { stage in
            try await stage.gateway { gateway in
                let messages = await gateway.call(stage.call(Stage.messages(stream: true))).text()
                #expect(messages.hasPrefix(Upstream.messageStream(["Hel"]).prefix(4).joined()))
                #expect(
                    messages.contains("\n\nevent: error\ndata: {") && messages.hasSuffix("\n\n")
                        && !messages.contains("half-of-it"))
                await gateway.content.idle()
                let list = try await gateway.interceptions.list(.own(stage.user), .init(), PageRequest()).items
                let recorded = try await gateway.contentStore.body(Stage.organization, list[0].id, .answer)
                #expect(recorded.map { String(decoding: $0.bytes, as: UTF8.self) } == messages)
                let chat = await gateway.call(stage.call(Stage.chat(stream: true), provider: "openai")).text()
                #expect(chat.contains("data: {\"error\":{") && chat.hasSuffix("data: [DONE]\n\n"))
                try await eventually { try await stage.count("ai_ledger") == 2 }
                for line in try await stage.ledger() {
                    #expect(line.state == "estimated" && line.status == "failed" && line.httpStatus == 200)
                }
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `an upstream that cannot be reached, stalls, or answers rubbish gives a provider-shaped error and no cost`()
        async throws
    {
        let mode = NIOLockedValueBox("stall")
        let script: RawServer.Script = { connection in
            guard try await connection.request() != nil else { return }
            switch mode.withLockedValue({ $0 }) {
            case "stall": await connection.untilClosed()
            case "rubbish": try await connection.send("this is not HTTP\r\n\r\n")
            case "close": return
            default: try await connection.send(Upstream.head(length: 100) + "{\"id\":")
            }
        }
        try await Stage.with(script) { stage in
            let timeouts = HTTPClientRequest.Timeouts(connect: .seconds(1), firstByte: .milliseconds(300), idle: .milliseconds(300))
            // A gateway each: after some failures in a row the same one would leave the provider alone.
            for (name, status) in [("stall", 504), ("rubbish", 502), ("close", 502), ("short", 502)] {
                try await stage.gateway(timeouts: timeouts) { gateway in
                    mode.withLockedValue { $0 = name }
                    for body in [Stage.messages(), Stage.messages(stream: true)] {
                        let answer = await gateway.call(stage.call(body))
                        let text = await answer.text()
                        #expect(
                            answer.status == status || (name == "short" && answer.status == 504),
                            "\(name): \(answer.status) \(text)")
                        #expect(text.contains(#"{"type":"error","error":{"type":""#), "\(name): \(text)")
                    }
                    await gateway.drain(grace: .zero)
                    #expect(gateway.inFlight == 0)
                    try await stage.expectSound(gateway)
                }
            }
            let lines = try await stage.ledger()
            #expect(lines.count == 8 && lines.allSatisfy { $0.status == "failed" && $0.state == "estimated" && $0.error != nil })
            try await stage.gateway(url: "http://127.0.0.1:1") { gateway in
                let answer = await gateway.call(stage.call(Stage.messages()))
                #expect(answer.status == 502)
                #expect(await answer.text().contains("127.0.0.1"))
            }
        }
    }

    @Test func `a client that leaves ends the upstream and is booked for what it got`() async throws {
        let released = Signal()
        let paused: RawServer.Script = { connection in
            _ = try await connection.request()
            try await connection.send(FaultTests.half())
            await connection.untilClosed()
            released.fire()
        }
        try await Stage.with(paused) { stage in
            try await stage.gateway { gateway in
                do {
                    let answer = await gateway.call(stage.call(Stage.messages(stream: true)))
                    var iterator = answer.body.makeAsyncIterator()
                    #expect(await iterator.next() != nil)
                }
                await released.wait()
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let line = try await stage.ledger()[0]
                #expect(line.state == "estimated" && line.status == "client_left" && line.input == 10)
                // The same when the task that reads is cancelled, as it is when nothing can be written to notice it.
                let reading = Task {
                    let answer = await gateway.call(stage.call(Stage.messages(stream: true)))
                    return await answer.text()
                }
                try await eventually { try await stage.count("ai_interceptions") == 2 && !gateway.relays.all.isEmpty }
                reading.cancel()
                _ = await reading.value
                try await eventually { try await stage.count("ai_ledger") == 2 }
                #expect(gateway.inFlight == 0)
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `what a dead replica left open is settled by another as unknown, at its whole hold`() async throws {
        let stalled: RawServer.Script = { connection in
            _ = try await connection.request()
            try await connection.send(FaultTests.half())
            await connection.untilClosed()
        }
        try await Stage.with(stalled) { stage in
            // The replica that dies: its gateway is never drained, and everything it would write is kept from the database.
            let pool = PostgresPool(configuration: stage.pool.configuration, logger: .quiet)
            let hold = NIOLockedValueBox(NanoDollars.zero)
            let doomed = Task {
                try await stage.gateway(pool: pool, isAlive: false) { gateway in
                    let answer = await gateway.call(stage.call(Stage.messages(stream: true)))
                    var iterator = answer.body.makeAsyncIterator()
                    _ = await iterator.next()
                    for call in gateway.open.all { call.writeContent() }
                    await gateway.content.idle()
                    let open = try #require(gateway.open.all.first)
                    hold.withLockedValue { $0 = open.facts.grant.amount }
                    await pool.close(grace: .zero)
                    gateway.settle.giveUp()
                    try await stall()
                }
            }
            try await eventually { hold.withLockedValue { $0 } > .zero }
            // Five seconds later, by the database's clock.
            try await stage.pool.execute("UPDATE ai_holds SET created_at = created_at - interval '5 seconds'")
            try await stage.gateway { gateway in
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let line = try await stage.ledger()[0]
                #expect(line.state == "unknown" && line.status == "unknown")
                #expect(line.cost == line.hold && line.cost == hold.withLockedValue { $0 })
                #expect(try await gateway.budgets.show(stage.user, user: stage.user.user).spent == line.cost)
                let list = try await gateway.interceptions.list(.own(stage.user), .init(), PageRequest())
                #expect(try await gateway.interceptions.get(.own(stage.user), list.items[0].id).content == "partial")
                #expect(try await gateway.recordedAnswer(list.items[0].id, for: stage.user) == nil)
                try await stage.expectSound(gateway)
            }
            doomed.cancel()
            _ = try? await doomed.value
        }
    }

    @Test func `nothing is sent while the database is away, and what ended meanwhile is settled when it is back`() async throws {
        let goOn = Signal()
        let script: RawServer.Script = { connection in
            _ = try await connection.request()
            try await connection.send(Upstream.head("text/event-stream"))
            let events = Upstream.messageStream()
            try await connection.send(events.prefix(4).map(Upstream.chunk).joined())
            await goOn.wait()
            try await connection.send(events.dropFirst(4).map(Upstream.chunk).joined() + Upstream.lastChunk)
        }
        try await Stage.with(script) { stage in
            let name = try await stage.pool.query("SELECT current_database() AS name")[0]["name", as: String.self]
            try await TestDatabase.with(migrated: false) { other in
                let admin = other.pool(maxConnections: 1)
                try await stage.gateway { gateway in
                    let answer = await gateway.call(stage.call(Stage.messages(stream: true)))
                    var iterator = answer.body.makeAsyncIterator()
                    var text = await iterator.next().map { String(buffer: $0) } ?? ""
                    try await admin.execute("ALTER DATABASE \(unsafeSQL: name) ALLOW_CONNECTIONS false")
                    try await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = \(name)")
                    goOn.fire()
                    while let chunk = await iterator.next() { text += String(buffer: chunk) }
                    #expect(text == Upstream.messageStream().joined())
                    let refused = Task { await gateway.call(stage.call(Stage.messages())).status }
                    #expect(gateway.settle.pending == 1)
                    try await admin.execute("ALTER DATABASE \(unsafeSQL: name) ALLOW_CONNECTIONS true")
                    _ = await refused.value
                    // A connection that was lost may still be handed out once.
                    try await eventually { (try? await stage.count("ai_ledger")) ?? 0 >= 1 }
                    let line = try await stage.ledger()[0]
                    #expect(line.state == "final" && line.status == "completed" && line.output == 5)
                    await gateway.drain(grace: .seconds(1))
                    try await stage.expectSound(gateway)
                }
                await admin.close()
            }
        }
    }

    @Test func `a hold that the database takes only after its caller was refused is given back, and the call costs nothing`()
        async throws
    {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                _ = await gateway.call(stage.call(Stage.messages())).text()
                try await eventually { try await stage.count("ai_holds") == 0 }
                let spent = try await gateway.budgets.show(stage.user, user: stage.user.user).spent
                try await stage.pool.withTransaction { blocker in
                    try await blocker.execute("SELECT id FROM ai_budgets FOR UPDATE")
                    let refused = await gateway.call(stage.call(Stage.messages()))
                    #expect(refused.status == 503)
                    #expect(await refused.text().contains("did not put the call on record within"))
                }
                // Now the hold is committed, for nobody.
                try await eventually {
                    let rows = try await stage.pool.query(
                        "SELECT l.cost, i.status FROM ai_ledger l JOIN ai_interceptions i ON i.id = l.interception_id ORDER BY l.settled_at"
                    )
                    guard rows.count == 2 else { return false }
                    return try rows[1]["cost", as: Int64.self] == 0 && rows[1]["status", as: String.self] == "failed"
                }
                #expect(try await stage.count("ai_holds") == 0)
                let budget = try await gateway.budgets.show(stage.user, user: stage.user.user)
                #expect(budget.spent == spent && budget.held == .zero)
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `an answer is withheld when its record cannot be flushed`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                // A first call, so that the chain stands; then the database loses what it was told.
                _ = await gateway.call(stage.call(Stage.messages())).text()
                try await eventually { !gateway.flush.isBehind }
                try await stage.pool.execute(
                    """
                    CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM audit_entries WHERE chain = NEW.chain AND n = NEW.n; RETURN NULL; END $$
                    """)
                try await stage.pool.execute(
                    "CREATE TRIGGER lose AFTER INSERT ON audit_entries FOR EACH ROW WHEN (NEW.kind = 'interception') EXECUTE FUNCTION lose()"
                )
                let answer = await gateway.call(stage.call(Stage.messages()))
                #expect(answer.status == 503)
                let text = await answer.text()
                // Whoever looks first finds it: the flush, or the next one to append.
                #expect(text.contains("its answer is withheld") && !text.contains("Hello."))
            }
        }
    }

    @Test func `a draining gateway lets streams finish, cuts those that do not, and takes no new calls`() async throws {
        let stalled: RawServer.Script = { connection in
            guard let request = try await connection.request() else { return }
            if String(buffer: request.body).contains("quick") {
                try await connection.send(
                    Upstream.head("text/event-stream") + Upstream.messageStream().map(Upstream.chunk).joined() + Upstream.lastChunk)
            } else {
                try await connection.send(FaultTests.half())
                await connection.untilClosed()
            }
        }
        try await Stage.with(stalled) { stage in
            try await stage.gateway { gateway in
                let quick = await gateway.call(stage.call(Stage.messages("quick", stream: true)))
                let slow = await gateway.call(stage.call(Stage.messages("slow", stream: true)))
                let texts = Task { (await quick.text(), await slow.text()) }
                let began = ContinuousClock.now
                await gateway.drain(grace: .milliseconds(300))
                #expect(began.duration(to: .now) < .seconds(20), "the grace of 300 ms is all that a stream gets")
                let refused = await gateway.call(stage.call(Stage.messages()))
                #expect(refused.status == 503)
                #expect(await refused.text().contains("shutting down"))
                let (first, second) = await texts.value
                #expect(first == Upstream.messageStream().joined())
                var reader = AnswerReader(.messages, streamed: true)
                try reader.feed(ByteBuffer(string: second))
                reader.finish()
                // Not an end that looks like the model's own: the client is to call again.
                #expect(reader.error?.message.contains("shutting down") == true && second.hasSuffix("\n\n"))
                let lines = try await stage.ledger()
                #expect(Set(lines.map(\.status)) == ["completed", "cut"])
                try await stage.expectSound(gateway)
                #expect(try await stage.count("audit_checkpoints") == 1)
            }
        }
    }

    @Test func `settings that are older than ten seconds decide nothing any more`() async throws {
        try await withDatabase { pool in
            let clock = NIOLockedValueBox(ContinuousClock.now)
            let keys = try KeyRing(text: KeyRing.generatedText(id: "k"))
            let cache = SettingsCache(
                pool: pool, providers: ProviderStore(keys: keys), policies: PolicyStore(pool: pool), routes: ModelRouteStore(),
                prices: PriceStore(pool: pool), fixedProviders: [], book: PriceBook([]), logger: .quiet,
                now: { clock.withLockedValue { $0 } })
            #expect(throws: AppError.self) { try cache.current() }
            try await cache.refresh()
            clock.withLockedValue { $0 += .seconds(10) }
            _ = try cache.current()
            clock.withLockedValue { $0 += .milliseconds(1) }
            #expect(throws: AppError.self) { try cache.current() }
            try await cache.poll()
            _ = try cache.current()
        }
    }

    @Test func `an id is good for one call`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let call = stage.call(Stage.messages())
                #expect(await gateway.call(call).status == 200)
                let again = await gateway.call(call)
                #expect(again.status == 409)
                #expect(await again.text().contains("with this id already"))
                await gateway.drain(grace: .seconds(1))
                #expect(gateway.inFlight == 0)
                try await stage.expectSound(gateway)
            }
        }
    }
}

import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Gateway

/// That every call is booked, once, and at what it cost.
@Suite struct SettlementTests {
    @Test func `a call that was booked as unknown while it lived is corrected to what it cost when it ends`() async throws {
        let goOn = Signal()
        let script: RawServer.Script = { connection in
            _ = try await connection.request()
            let events = Upstream.messageStream()
            try await connection.send(Upstream.head("text/event-stream") + events.prefix(4).map(Upstream.chunk).joined())
            await goOn.wait()
            try await connection.send(events.dropFirst(4).map(Upstream.chunk).joined() + Upstream.lastChunk)
        }
        try await Stage.with(script) { stage in
            // Its heartbeat does not get through.
            try await stage.gateway(isAlive: false) { silent in
                let booking = Booking()
                var call = stage.call(Stage.messages(stream: true))
                call.booking = booking
                let answer = await silent.call(call)
                var iterator = answer.body.makeAsyncIterator()
                var text = await iterator.next().map { String(buffer: $0) } ?? ""
                for call in silent.open.all { call.writeContent() }
                await silent.content.idle()
                try await stage.age()
                try await stage.gateway { other in
                    try await eventually { try await stage.count("ai_ledger", "state = 'unknown'") == 1 }
                    goOn.fire()
                    while let chunk = await iterator.next() { text += String(buffer: chunk) }
                    #expect(text == Upstream.messageStream().joined())
                    #expect(await booking.cost(within: .seconds(60)) == NanoDollars(60_000))
                    await silent.drain(grace: .seconds(1))
                    let line = try await stage.ledger()[0]
                    #expect(line.state == "unknown" && line.cost == line.hold)
                    #expect(
                        try await stage.count(
                            "ai_corrections", "n = 1 AND cost_before = \(line.hold.value) AND cost_after = 60000") == 1)
                    #expect(try await stage.count("ai_charges", "cost = 60000") == 1)
                    let budget = try await other.budgets.show(stage.user, user: stage.user.user)
                    #expect(budget.spent == NanoDollars(60_000) && budget.held == .zero)
                    // Settled again, as after a database that lost it: nothing changes.
                    let row = try await stage.pool.query("SELECT interception_id, budget_ids FROM ai_ledger")[0]
                    let request = try stage.request(id: row["interception_id"])
                    let again = stage.settlement(
                        request, .init(amount: line.hold, budgets: try row["budget_ids"], generation: 0))
                    try await other.settle.settleAndWait(again)
                    #expect(try await stage.count("ai_corrections") == 1)
                    // The answer has grown behind what was booked, which the verifier knows from one that was changed.
                    try await stage.expectSound(other)
                    try await stage.pool.execute("UPDATE ai_contents SET chunks = substr(chunks, 33) WHERE part = 'answer'")
                    #expect(try await other.audit.verify().problems.contains { $0.message.contains("answer") })
                }
            }
        }
    }

    @Test func `a call is booked once, whichever attempts two servers settle at the same moment`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { one in
                try await stage.gateway { two in
                    let request = try stage.request(one.configuration.replica)
                    let grant = try await one.holds.take(request)
                    let settlements = [
                        stage.settlement(request, grant, attempt: 2),
                        stage.settlement(request, grant, state: .unknown, cost: grant.amount),
                    ]
                    // Both have looked, and found nothing, before either writes.
                    let tasks = try await stage.pool.withTransaction { blocker in
                        try await blocker.execute("LOCK TABLE ai_ledger IN SHARE MODE")
                        let tasks = zip([one, two], settlements).map { gateway, settlement in
                            Task { try await gateway.settle.settleAndWait(settlement) }
                        }
                        try await eventually {
                            try await stage.count("pg_locks", "relation = 'ai_ledger'::regclass AND NOT granted") == 2
                        }
                        return tasks
                    }
                    for task in tasks { try await task.value }
                    #expect(try await stage.count("ai_ledger") == 1)
                    // Whoever came first, the call costs what it cost.
                    let budget = try await one.budgets.show(stage.user, user: stage.user.user)
                    #expect(budget.spent == NanoDollars(60_000) && budget.held == .zero)
                    try await stage.expectSound(one)
                }
            }
        }
    }

    @Test func `what the database refuses is kept, keeps nobody else, and is booked when it is taken`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await stage.pool.execute(
                    """
                    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN IF NEW.provider = 'openai' THEN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END IF; RETURN NEW; END $$
                    """)
                try await stage.pool.execute(
                    "CREATE TRIGGER refuse BEFORE INSERT ON ai_ledger FOR EACH ROW EXECUTE FUNCTION refuse()")
                for provider in ["openai", "anthropic"] {
                    let body = provider == "openai" ? Stage.chat() : Stage.messages()
                    #expect(await gateway.call(stage.call(body, provider: provider)).status == 200)
                }
                try await eventually { try await stage.count("ai_ledger") == 1 && gateway.settle.pending == 1 }
                #expect(try await stage.ledger()[0].cost == NanoDollars(60_000))
                #expect(gateway.settle.unbooked == 1)
                let refused = try stage.request(gateway.configuration.replica, provider: "openai")
                let grant = try await gateway.holds.take(refused)
                let error = await #expect(throws: AppError.self) {
                    try await gateway.settle.settleAndWait(stage.settlement(refused, grant))
                }
                #expect(error?.code == .unavailable && gateway.settle.unbooked == 2)
                try await stage.pool.execute("DROP TRIGGER refuse ON ai_ledger")
                try await eventually { try await stage.count("ai_ledger") == 3 && gateway.settle.unbooked == 0 }
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `what is set aside is tried after a second, then twice as late each time, up to 15 seconds`() {
        var aside = SettlementsAside()
        let start = ContinuousClock.now
        let grant = HoldLoop.Grant(amount: .zero, budgets: [], generation: 0)
        let settlement = Settlement(
            neverSent: Self.interception(), .init(amount: grant.amount, budgets: [], counters: []))
        var now = start
        for pause in [1, 2, 4, 8, 15, 15] {
            aside.put(settlement, at: now)
            let isEarly = aside.markDue(at: now + .seconds(pause) - .milliseconds(1))
            now += .seconds(pause)
            let isDue = aside.markDue(at: now)
            #expect(!isEarly && isDue && aside.marked.count == 1)
            // One that is being tried is not due again.
            let isTwice = aside.markDue(at: now + .seconds(60))
            #expect(!isTwice && aside.contains(settlement.interception))
        }
        aside.remove(settlement.interception)
        let isLeft = aside.markAll()
        #expect(!isLeft && aside.count == 0)
    }

    private static func interception() -> NewInterception {
        NewInterception(
            id: InterceptionID(), organization: Stage.organization, initiator: UserID(), replica: ReplicaID(), requestID: "r",
            provider: "p", providerName: "p", modelProtocol: "messages", route: "r", model: "m", isStreamed: false, client: "c",
            policy: "", requestHash: Data(), requestSize: 0, promptHash: Data())
    }

    @Test(arguments: ["25006", "57014", "55P03", "40P01", "08006", "53100"])
    func `what passes is tried again`(state: String) { #expect(PostgresError(sqlState: state, message: "").isTransient) }

    @Test(arguments: ["23505", "23514", "22003", "42703"])
    func `what does not pass by itself is told apart`(state: String) {
        #expect(!PostgresError(sqlState: state, message: "").isTransient)
    }

    // MARK: The reaper

    @Test func `others are dead only for one who was in touch for long and found them silent for a while`() {
        let (one, two) = (ReplicaID(), ReplicaID())
        let start = ContinuousClock.now
        func look(_ contact: inout DatabaseContact, _ second: Double, _ silent: Set<ReplicaID>) -> Set<ReplicaID> {
            contact.looked(at: start + .milliseconds(Int64(second * 1000)), silent: silent)
        }
        var contact = DatabaseContact(.init())
        for second in [0.0, 2, 4, 6] { #expect(look(&contact, second, [one]) == []) }
        #expect(look(&contact, 8, [one, two]) == [one])
        #expect(look(&contact, 10, [one, two]) == [one, two])
        // A stall: all are silent, and those who live are heard again.
        #expect(look(&contact, 14.5, [one, two]) == [])
        for second in [16.5, 18.5, 20.5] { #expect(look(&contact, second, [one]) == []) }
        #expect(look(&contact, 22.5, [one]) == [one])
        // One that is too short to count as a loss of contact.
        #expect(look(&contact, 26.4, [one, two]) == [one])
        #expect(look(&contact, 28.4, [one]) == [one])
        // Looks close to each other count by their time.
        for second in [28.5, 29.5] { #expect(look(&contact, second, [one, two]) == [one]) }
        #expect(look(&contact, 30.5, [one, two]) == [one, two])
        contact.lost()
        #expect(look(&contact, 31.5, [one]) == [])
        #expect(look(&contact, 33.5, [one]) == [])
    }

    @Test func `a content that does not unpack keeps no hold: the calls of a dead server are all booked`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let dead = ReplicaID()
                var ids: [InterceptionID] = []
                for _ in 0..<2 {
                    let request = try stage.request(dead)
                    _ = try await gateway.holds.take(request)
                    ids.append(request.interception.id)
                }
                let hash = Data(repeating: 7, count: 32)
                try await stage.pool.execute(
                    """
                    INSERT INTO ai_chunks (organization_id, hash, encoding, data)
                    VALUES (\(Stage.organization), \(hash), 1, \(Data("no zlib".utf8)))
                    """)
                try await stage.pool.execute(
                    """
                    INSERT INTO ai_contents (interception_id, part, organization_id, state, content_type, size, chunks)
                    VALUES (\(ids[0]), 'answer', \(Stage.organization), 'partial', 'text/plain', 100, \(hash))
                    """)
                try await stage.age()
                try await eventually { try await stage.count("ai_ledger", "state = 'unknown' AND answer_size = 0") == 2 }
                #expect(try await stage.count("ai_holds") == 0)
            }
        }
    }
}

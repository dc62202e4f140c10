import AgentLoop
import Core
import Foundation
import Gateway
import ModelAPI
import NIOCore
import Postgres

/// The loop's model calls, made through the gateway in this process: the same admission, holds and records as for anybody else.
struct GatewayModelClient: ModelClient {
    let gateway: Gateway
    let ledger: LedgerLookup

    func call(_ call: ModelCall, preview: @escaping @Sendable (AnswerDelta) -> Void) async throws -> ModelAnswer {
        // The same right as at the door: roles may have changed since the task was made.
        guard call.principal.reach(of: .callModels) != .none else {
            throw ModelFailure(.policy, "The roles of \(call.principal.username) do not allow model calls any more.")
        }
        let target = try gateway.resolve(model: call.model, for: call.principal)
        var conversation = call.conversation
        conversation.model = target.model
        let booking = Booking()
        let answer = await gateway.call(
            GatewayCall(
                id: call.id, principal: call.principal, provider: target.provider, route: target.route,
                headers: Self.headers(target.api), body: conversation.encode(as: target.api, stream: true),
                origin: .loop(task: call.task, step: call.step), requestID: RequestScope.requestID ?? call.id.description,
                booking: booking, traceParent: call.trace))
        var reader = AnswerReader(target.api, streamed: Self.isStream(answer.headers))
        do {
            guard answer.status == 200 else { throw try await failure(call.id, answer) }
            for await chunk in answer.body { try reader.feed(chunk, onDelta: preview) }
            try Task.checkCancellation()
            reader.finish(onDelta: preview)
            var cost = await booking.cost(within: LedgerLookup.patience)
            try Task.checkCancellation()
            if cost == nil { cost = try await ledger.cost(of: call.id, within: .zero) }
            return try await read(reader, call.id, cost: cost ?? .zero)
        } catch is CancellationError {
            throw await stopped(reader, call.id)
        }
    }

    /// The call was aborted; what was said until then was paid for.
    private func stopped(_ reader: AnswerReader, _ id: InterceptionID) async -> ModelFailure {
        // In a task of its own: this one is cancelled. Awaited here, within the patience of a person who interrupts.
        let cost = await Task { try? await ledger.cost(of: id, ifBooked: true, within: .milliseconds(500)) }.value
        return ModelFailure(.cancelled, "The call was stopped.", cost: cost ?? .zero, partial: reader.blocks)
    }

    func recorded(_ id: InterceptionID) async throws -> ModelAnswer? {
        guard let principal = try await ledger.initiator(of: id), let answer = try await gateway.recordedAnswer(id, for: principal),
            answer.status == 200
        else { return nil }
        var reader = AnswerReader(answer.api, streamed: answer.contentType.hasPrefix("text/event-stream"))
        try reader.feed(answer.body)
        reader.finish()
        return try await read(reader, id, cost: answer.cost)
    }

    private func read(_ reader: AnswerReader, _ id: InterceptionID, cost: NanoDollars) async throws -> ModelAnswer {
        if let error = reader.error {
            var failure = ModelFailure.classify(status: 200, error: error)
            failure.cost = cost
            failure.partial = reader.blocks
            throw failure
        }
        guard reader.isComplete, let stop = reader.stopReason else {
            throw ModelFailure(
                .brokenOff, "The model's answer broke off before its end.", cost: cost, partial: reader.blocks)
        }
        return ModelAnswer(blocks: reader.blocks, stopReason: stop, usage: reader.usage ?? Usage(), cost: cost)
    }

    private func failure(_ id: InterceptionID, _ answer: GatewayAnswer) async throws -> ModelFailure {
        var body = ByteBuffer()
        for await chunk in answer.body where body.readableBytes < 1 << 20 { body.writeImmutableBuffer(chunk) }
        try Task.checkCancellation()
        let wait = answer.headers.first { $0.name.lowercased() == "retry-after" }.flatMap { Int($0.value) }
        let cost = try await ledger.cost(of: id, ifBooked: true)
        return .classify(
            status: answer.status, error: UpstreamError.read(body), retryAfter: wait.map { .seconds(max(0, $0)) }, cost: cost)
    }

    private static func headers(_ api: ModelProtocol) -> [(name: String, value: String)] {
        var headers = [
            (name: "content-type", value: "application/json"), (name: "accept", value: "text/event-stream"),
            (name: "user-agent", value: "slipway/\(SlipwayVersion.current)"),
        ]
        if api == .messages { headers.append((name: "anthropic-version", value: "2023-06-01")) }
        return headers
    }

    private static func isStream(_ headers: [(name: String, value: String)]) -> Bool {
        headers.contains { $0.name.lowercased() == "content-type" && $0.value.hasPrefix("text/event-stream") }
    }
}

/// What a call cost, as it was booked: a task's total is the sum of the ledger, never a second calculation.
struct LedgerLookup: TaskLedger {
    /// Bookings follow an answer's end within milliseconds, unless the database is away.
    static let patience = Duration.seconds(5)

    let pool: PostgresPool

    /// - Parameter ifBooked: a call that was refused is never booked, so nothing is waited for.
    /// - Throws: `ModelFailure` when nothing is booked in time.
    func cost(
        of id: InterceptionID, ifBooked: Bool = false, within patience: Duration = Self.patience
    ) async throws -> NanoDollars {
        let giveUp = ContinuousClock.now + patience
        var pause = Duration.milliseconds(1)
        while true {
            let row = try await pool.query(
                """
                SELECT i.status, (SELECT sum(l.cost)::bigint FROM ai_ledger l WHERE l.interception_id = i.id) AS cost
                FROM ai_interceptions i WHERE i.id = \(id)
                """
            ).first
            if let cost: NanoDollars = try row?["cost", as: NanoDollars?.self] { return cost }
            let status: String? = try row?["status"]
            if ifBooked, status == nil || status == "refused" { return .zero }
            guard ContinuousClock.now < giveUp else {
                throw ModelFailure(.unavailable, "The call's cost was not booked in time: the database is slow or away.")
            }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(100))
        }
    }

    func costs(of tasks: [TaskID]) async throws -> [TaskID: NanoDollars] {
        let rows = try await pool.query(
            """
            SELECT i.task_id, sum(l.cost)::bigint AS cost FROM ai_interceptions i JOIN ai_charges l ON l.interception_id = i.id
            WHERE i.task_id = ANY(\(tasks.map(\.uuid))) GROUP BY i.task_id
            """)
        return try Dictionary(uniqueKeysWithValues: rows.map { (try $0["task_id"], try $0["cost"]) })
    }

    /// As whom the call was made; enough to read its record.
    func initiator(of id: InterceptionID) async throws -> Principal? {
        let rows = try await pool.query("SELECT organization_id, initiator_id FROM ai_interceptions WHERE id = \(id)")
        return try rows.first.map {
            Principal(organization: try $0["organization_id"], user: try $0["initiator_id"], username: "", roles: [])
        }
    }
}

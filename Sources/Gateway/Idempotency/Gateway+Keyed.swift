import Core
import ModelAPI
import NIOCore

/// Calls with an `Idempotency-Key`: paid for once, answered as often as they are asked.
extension Gateway {
    /// How long an answer is read for a client that left and may come back for it.
    static let keyPatience = Duration.seconds(600)
    /// How often a call finds its key free and taken again before it gives up.
    private static let mostRounds = 10
    /// How long the content of a call that has ended may take to be written.
    private static let contentPatience = Duration.seconds(20)
    private static let lookEvery = Duration.milliseconds(200)

    func callKeyed(_ prepared: PreparedCall, _ claim: KeyClaim) async throws -> GatewayAnswer {
        for _ in 0..<Self.mostRounds {
            try Task.checkCancellation()
            let place: KeyedCalls.Place
            do { place = try keyed.enter(claim, prepared.call.id) } catch { throw await onRecord(error, prepared) }
            switch place {
            case .first(let answer):
                do {
                    return try await makeKeyed(prepared, claim, answer)
                } catch let taken as KeyTaken {
                    if let answer = try await replay(prepared, claim, taken) { return answer }
                }
            case .running(let answer):
                switch try await answer.beginning() {
                case .head(let head):
                    if let reader = answer.reader() { return try await join(prepared, head, reader, of: answer.first) }
                    // Too long to be kept here; the record has all of it at its end.
                    let taken = KeyTaken(first: answer.first, requestHash: answer.requestHash)
                    if let answer = try await replay(prepared, claim, taken) { return answer }
                case .failed(let error): throw error
                case .neverSent(let taken):
                    // It runs elsewhere: those who waited here need not find that out one after the other.
                    if let taken, let answer = try await replay(prepared, claim, taken) { return answer }
                }
            }
        }
        throw AppError(
            .unavailable, "Too many calls with this Idempotency-Key failed at the same time. Try again.", retry: .after(.seconds(1))
        )
    }

    // MARK: The first

    /// - Throws: `KeyTaken`; `EndedCall` once it is on record.
    private func makeKeyed(_ prepared: PreparedCall, _ claim: KeyClaim, _ answer: SharedAnswer) async throws -> GatewayAnswer {
        let record: CallRecord
        do {
            record = try await hold(prepared, claim)
        } catch {
            // In this order: who wakes up must not find the same answer again.
            keyed.leave(claim.key, answer)
            answer.begin(.neverSent(error as? KeyTaken))
            throw error
        }
        guard let reader = answer.reader() else { throw AppError(.internal, "A new answer is too long.") }
        // Awaited by the admission, which counts the call until its record ends; it does not end with its client.
        let task = Task {
            do {
                let made = try await relay(record, prepared.plan)
                answer.begin(.head(.init(status: made.status, headers: made.headers)))
                for await chunk in made.body { try await answer.append(chunk) }
            } catch {
                answer.begin(.failed(error as? AppError ?? AppError(.unavailable, "The call was cancelled.")))
            }
            answer.end()
            keyed.leave(claim.key, answer)
        }
        answer.onAbandoned {
            // Ends by itself; a call that somebody came back for goes on.
            Task {
                try? await Task.sleep(for: Self.keyPatience)
                if answer.isAbandoned { task.cancel() }
            }
        }
        do {
            switch try await answer.beginning() {
            case .head(let head): return GatewayAnswer(status: head.status, headers: head.headers, body: GatewayBody(reader))
            case .failed(let error): throw error
            case .neverSent: throw AppError(.internal, "A call was sent and was not.")
            }
        } catch {
            throw EndedCall(error: error as? AppError ?? AppError(.unavailable, "The call was cancelled."))
        }
    }

    // MARK: Repeats

    /// Reads along with a call of this process.
    private func join(
        _ prepared: PreparedCall, _ head: SharedAnswer.Head, _ reader: SharedReader, of first: InterceptionID
    ) async throws -> GatewayAnswer {
        // An answer that is an error costs nothing: whoever repeats it later makes a new attempt.
        try await recordReplay(prepared, of: first)
        var headers = HeaderEdits.client(head.headers, interception: prepared.call.id)
        headers.append((name: Self.replayHeader, value: first.description))
        return GatewayAnswer(status: head.status, headers: headers, body: GatewayBody(reader))
    }

    private static let replayHeader = "x-slipway-replay-of"

    /// Waits until the first call has ended, wherever it runs, and gives its answer again. Nil: the key is free.
    private func replay(_ prepared: PreparedCall, _ claim: KeyClaim, _ taken: KeyTaken) async throws -> GatewayAnswer? {
        guard taken.requestHash == claim.requestHash else { throw await onRecord(KeyRule.otherRequest, prepared) }
        while true {
            switch KeyRule(try await keyEnds.submit(taken.first)) {
            case .wait:
                if admission.isClosed {
                    throw AppError(
                        .unavailable, "The server is shutting down; try again, another one will answer.", retry: .after(.seconds(1))
                    )
                }
                try await Task.sleep(for: Self.lookEvery)
            case .again: return nil
            case .refuse(let message):
                throw await onRecord(AppError(.conflict, message, field: "Idempotency-Key"), prepared)
            case .replay: return try await recorded(prepared, taken.first)
            }
        }
    }

    private func recorded(_ prepared: PreparedCall, _ first: InterceptionID) async throws -> GatewayAnswer {
        // Content is written behind the settlement.
        let deadline = ContinuousClock.now + Self.contentPatience
        var found: ContentStore.Body?
        while true {
            found = try await contentStore.body(prepared.interception.organization, first, .answer)
            if found?.state == .complete || ContinuousClock.now >= deadline || admission.isClosed { break }
            try await Task.sleep(for: Self.lookEvery)
        }
        guard let found, found.state == .complete else { throw await onRecord(KeyRule.removed(first), prepared) }
        try await recordReplay(prepared, of: first)
        return GatewayAnswer(
            status: 200,
            headers: [
                (name: "content-type", value: found.contentType),
                (name: "x-slipway-interception-id", value: prepared.call.id.description),
                (name: Self.replayHeader, value: first.description),
            ],
            body: GatewayBody(
                shown(ByteBuffer(bytes: found.bytes), prepared, isStream: found.contentType.hasPrefix("text/event-stream"))))
    }

    /// The record has the usage chunk that the gateway asked for; a client that did not ask never sees it.
    private func shown(_ body: ByteBuffer, _ prepared: PreparedCall, isStream: Bool) -> ByteBuffer {
        guard isStream, prepared.api == .chatCompletions, BodyEdit.includeUsage(prepared.summary, in: prepared.call.body) != nil
        else { return body }
        var filter = UsageChunkFilter()
        var shown = filter.filter(body)
        shown.writeImmutableBuffer(filter.finish())
        return shown
    }

    // MARK: The record of repeats

    /// Returns when the repeat is on record and on disk: it holds nothing and names the first. It is under way no more.
    private func recordReplay(_ prepared: PreparedCall, of first: InterceptionID) async throws {
        var interception = prepared.interception
        interception.replayOf = first
        interception.price = nil
        let grant = try await holds.take(.init(interception: interception, demand: nil))
        flush.post()
        try await flush.wait(for: grant.entry, of: calls)
        guard calls.losses == grant.generation else {
            throw AppError(
                .unavailable, "The database lost the record of this call, so its answer is withheld. Try again.", retry: .now)
        }
        meters.replayed(prepared.plan.targets[0])
        prepared.call.trace?.replayed(first)
        // It has no record that could end: from here on nothing can fail.
        admission.leave()
    }

    /// Puts a refusal on record.
    private func onRecord(_ error: AppError, _ prepared: PreparedCall) async -> AppError {
        var interception = prepared.interception
        interception.refusal = error
        _ = try? await holds.take(.init(interception: interception, demand: nil))
        return error
    }
}

/// A call that was decided and not yet held.
struct PreparedCall: Sendable {
    var call: GatewayCall
    /// The client's.
    var api: ModelProtocol
    var interception: NewInterception
    var summary: RequestSummary
    var demand: HoldDemand
    var plan: RoutePlan
    var began: ContinuousClock.Instant
    /// Nil: no rule looks at what it says.
    var guarding: CallGuard?
}

import Core
import HTTPTransport
import ModelAPI
import NIOCore

extension Gateway {
    /// Sends the call, to one target after the other until one answers. On return the record is owned by the body; when this throws it
    /// has ended.
    func relay(_ record: CallRecord, _ plan: RoutePlan) async throws(AppError) -> GatewayAnswer {
        // The flush runs while the model thinks.
        flush.post()
        let upstream: Upstream
        do {
            upstream = try await send(record, plan)
        } catch {
            let failure = error as? AppError
            record.end(failure.map { $0.code == .policyDenied ? .blocked($0) : .upstreamFailed($0) } ?? .clientLeft)
            // The error is an answer too.
            try? await flush.wait(for: record.facts.grant.entry, of: calls)
            throw failure ?? AppError(.unavailable, "The call was cancelled.")
        }
        try await release(record, upstream)
        meters.answered(record.facts, upstream.target)
        record.facts.call.trace?.firstByte(isStream: upstream.isStream)
        if upstream.isStream {
            record.state.withLockedValue { $0.firstChunk = record.facts.began.duration(to: .now) }
        }
        var headers = upstream.headers ?? upstream.response.headers
        headers = HeaderEdits.client(headers, interception: record.facts.call.id)
        if plan.isRouted { headers.append((name: "x-slipway-target", value: upstream.target.name)) }
        if upstream.attempts > 1 { headers.append((name: "x-slipway-attempts", value: "\(upstream.attempts)")) }
        if let whole = upstream.whole {
            record.state.withLockedValue { state in
                state.recorder.append(upstream.shown ?? whole)
                if let embedding = record.facts.call.embedding, upstream.response.status < 300 {
                    state.embedding = EmbeddingUsage.read(whole, as: embedding)
                } else {
                    try? state.own.feed(upstream.target.format?.readable(whole) ?? whole)
                }
            }
            record.end(record.hasLeft ? .drained : .ended)
            return GatewayAnswer(
                status: upstream.response.status, headers: headers, body: GatewayBody(upstream.shown ?? whole))
        }
        let relay = Relay(record, upstream: upstream.response.body, first: upstream.first, filtersUsage: upstream.asksForUsage)
        return GatewayAnswer(status: upstream.response.status, headers: headers, body: GatewayBody(relay))
    }

    /// Returns when the call's record is on disk.
    private func release(_ record: CallRecord, _ upstream: Upstream) async throws(AppError) {
        do {
            try await flush.wait(for: max(record.facts.grant.entry, upstream.beside?.entry ?? 0), of: calls)
            // What was put on record may be gone, if the database crashed in between.
            if calls.losses != record.facts.grant.generation || upstream.beside.map({ calls.losses != $0.generation }) == true {
                throw AppError(
                    .unavailable, "The database lost the record of this call, so its answer is withheld. Try again.", retry: .now)
            }
        } catch {
            upstream.response.body.cancel()
            let failure = error as? AppError ?? AppError(.unavailable, "The call could not be put on record.", cause: error)
            record.end(.withheld(failure))
            throw failure
        }
    }

    /// An answer that will be handed out.
    struct Upstream {
        var target: Target
        var response: HTTPClientResponse
        var isStream: Bool
        /// The first bytes of a stream: whatever fails before them can still be told by the status.
        var first: ByteBuffer?
        /// All of what is no stream.
        var whole: ByteBuffer?
        /// The same in the client's protocol, if it was translated.
        var shown: ByteBuffer?
        /// Of a translated answer: the upstream's are for other clients.
        var headers: [(name: String, value: String)]?
        var asksForUsage: Bool
        var attempts: Int
        /// A stream whose first event is an error (`overloaded_error`): nothing of it was handed out yet.
        var firstError: UpstreamError?
        /// What is held for another attempt that was sent: it has to be on disk, too.
        var beside: HoldLoop.Grant?
    }

    // MARK: Attempts

    /// - Throws: what the last attempt failed with, `CancellationError`.
    private func send(_ record: CallRecord, _ plan: RoutePlan) async throws -> Upstream {
        var queue = AttemptQueue(plan, health)
        var log = AttemptLog(trace: record.facts.call.trace)
        guard var attempt = queue.first() else {
            let wait = queue.shortestWait ?? .seconds(5)
            throw AppError(
                .unavailable,
                "\(plan.targets.map(\.name).joined(separator: ", ")) failed too often just now; it is tried again in \(max(1, Int((wait / .seconds(1)).rounded(.up)))) s.",
                source: .upstream, retry: .after(wait))
        }
        var beside: HoldLoop.Grant?
        while true {
            log.begin(attempt)
            if queue.made > 1 {
                record.begin(attempt.target, attempt: queue.made)
                meters.retried(attempt.target)
            }
            do {
                var upstream: Upstream
                if let hedging = plan.hedging, queue.made == 1 {
                    let end = await race(record, attempt, &queue, hedging, &log)
                    (attempt, beside) = (end.attempt, end.beside)
                    upstream = try await receive(record, attempt, queue, end.sent)
                } else {
                    upstream = try await receive(record, attempt, queue, send(record, attempt))
                }
                upstream.beside = beside
                let verdict = judge(upstream, attempt)
                // Errors that are worth another attempt are the client's, word for word, when there is none.
                guard verdict != .answer, queue.hasMore, !record.hasLeft, let next = queue.next(after: verdict) else {
                    log.end(status: upstream.response.status, error: nil)
                    if log.lines.count > 1 { record.keep(log.lines) }
                    return upstream
                }
                upstream.response.body.cancel()
                log.end(
                    status: upstream.response.status,
                    error: upstream.firstError.map { "\($0.type): \($0.message)" } ?? "HTTP \(upstream.response.status)")
                attempt = next
            } catch let error as AppError where error.source == .upstream || error.code == .timeout {
                let verdict = AttemptVerdict(error)
                if verdict != .sameAgain { health.failed(attempt.target, at: .now) }
                log.end(status: nil, error: error.message)
                guard !record.hasLeft, let next = queue.next(after: verdict) else {
                    if log.lines.count > 1 { record.keep(log.lines) }
                    throw error
                }
                attempt = next
            } catch {
                log.end(status: nil, error: (error as? AppError)?.message ?? "the client left")
                if log.lines.count > 1 { record.keep(log.lines) }
                throw error
            }
        }
    }

    /// Remembers how the target fared.
    private func judge(_ upstream: Upstream, _ attempt: Attempt) -> AttemptVerdict {
        if upstream.firstError != nil {
            health.failed(attempt.target, at: .now)
            return .otherTarget
        }
        return note(upstream.response, attempt)
    }

    @discardableResult
    func note(_ response: HTTPClientResponse, _ attempt: Attempt) -> AttemptVerdict {
        if AttemptVerdict.isFailure(status: response.status) {
            health.failed(attempt.target, at: .now)
        } else {
            health.succeeded(attempt.target)
        }
        let verdict = AttemptVerdict(response)
        if case .otherKey(let time) = verdict { health.rest(attempt.key, of: attempt.target.provider, for: time, at: .now) }
        return verdict
    }

    /// An attempt that was sent, and the head of its answer.
    struct Sent: Sendable {
        var response: Result<HTTPClientResponse, any Error>
        /// The gateway asked for the usage, and the client did not.
        var asksForUsage: Bool
    }

    func send(_ record: CallRecord, _ attempt: Attempt) async -> Sent {
        let outgoing = Outgoing(attempt, record.facts)
        let request = outgoing.request(attempt, method: record.facts.call.method, timeouts: configuration.timeouts)
        do {
            return Sent(response: .success(try await configuration.transport.send(request)), asksForUsage: outgoing.asksForUsage)
        } catch {
            return Sent(response: .failure(error), asksForUsage: outgoing.asksForUsage)
        }
    }

    private func receive(
        _ record: CallRecord, _ attempt: Attempt, _ queue: AttemptQueue, _ sent: Sent
    ) async throws -> Upstream {
        let facts = record.facts
        let target = attempt.target
        let response = try sent.response.get()
        try refuseRedirect(response, target.provider)
        let isStream = record.head(status: response.status, contentType: response.header("content-type") ?? "")
        var upstream = Upstream(
            target: target, response: response, isStream: isStream, asksForUsage: sent.asksForUsage, attempts: queue.made)
        if upstream.isStream {
            var iterator = response.body.makeAsyncIterator()
            upstream.first = try await iterator.next()
            if queue.hasMore, let first = upstream.first { upstream.firstError = Self.firstError(first, target) }
        } else {
            let whole = try await response.body.collect(
                upTo: facts.call.embedding == nil ? AnswerReader.defaultContentLimit : EmbeddingSummary.Format.longestAnswer)
            // Numbers are no words of a model: nothing may be cut out of them.
            let isLookedThrough = facts.guarding != nil && (facts.call.embedding == nil || response.status >= 300)
            upstream.whole = isLookedThrough ? try record.guarded(whole) : whole
        }
        if let translation = target.translation { try translate(&upstream, translation) }
        if let tools = facts.guarding?.tools, let whole = upstream.whole {
            try record.decide(upstream.shown ?? whole, tools.at(target), from: whole)
        }
        return upstream
    }

    /// A redirect is neither followed, which would take the provider's key elsewhere, nor handed on, which would take the client's.
    func refuseRedirect(_ response: HTTPClientResponse, _ provider: Provider) throws(AppError) {
        guard (300..<400).contains(response.status) else { return }
        response.body.cancel()
        throw AppError(
            .upstream,
            "The provider '\(provider.name)' answered with a redirect (HTTP \(response.status)), which is not followed; an admin can correct its base URL.",
            source: .upstream)
    }

    private static func firstError(_ bytes: ByteBuffer, _ target: Target) -> UpstreamError? {
        var reader = AnswerReader(target.api, streamed: true)
        if var translator = target.translation?.translator {
            _ = translator.receive(bytes)
            reader = translator.reader
            // Frames of Bedrock that are exceptions, and others that end it at once.
            if translator.isFinished, !reader.isComplete, reader.error == nil, reader.generatedBytes == 0 {
                return UpstreamError(type: "api_error", message: "the stream began with an error")
            }
        } else {
            try? reader.feed(bytes)
        }
        return reader.generatedBytes == 0 ? reader.error : nil
    }

    private func translate(_ upstream: inout Upstream, _ translation: Translation) throws(AppError) {
        let response = upstream.response
        var losses = translation.losses
        var headers = [(name: "content-type", value: upstream.isStream ? "text/event-stream" : "application/json")]
        if let whole = upstream.whole {
            if response.status < 300 {
                let answer = try WholeAnswer.translate(whole, translation.request, from: translation.format, translation.context)
                losses.merge(answer.losses)
                upstream.shown = answer.body
            } else {
                let error = translation.error(
                    status: response.status, whole, retryAfter: AttemptVerdict.retryAfter { response.header($0) })
                headers = error.headers
                upstream.shown = error.body
            }
        }
        if let names = losses.headerValue { headers.append((name: Losses.header, value: names)) }
        upstream.headers = headers
    }
}

extension Target {
    /// The path upstream: the client's own, but for Gemini's, which names the model.
    func route(of call: GatewayCall, _ summary: RequestSummary) -> String {
        guard api == .gemini, model != summary.model else { return call.route }
        let query = call.route.drop { $0 != "?" }
        return "\(api.route(model: model, stream: summary.stream).prefix { $0 != "?" })\(query)"
    }
}

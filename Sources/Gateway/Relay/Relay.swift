import Core
import HTTPTransport
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore

/// Passes a streamed answer on, byte for byte, and reads along. Whatever goes wrong ends in a way that the client's protocol knows.
final class Relay: Sendable {
    struct State: Sendable {
        var aligner = EventAligner()
        /// Nil: no rule looks into the answer.
        var guarding: AnswerGuard?
        /// Takes out the usage chunk that the gateway asked for and the client did not.
        var filter: UsageChunkFilter?
        var first: ByteBuffer?
        var stopReason: String?
        var isOver = false
        var lastByte = ContinuousClock.now
        var isPingDue = false
    }

    let record: CallRecord
    let upstream: HTTPBody
    let state: NIOLockedValueBox<State>
    /// Output beyond which the answer is cut; nil when the hold covers the longest answer. The provider was told the same limit: this is for
    /// those that do not keep to it.
    let outputLimit: TokenCount?
    /// Nil: no pings.
    private let pingAfter: Duration?
    /// How long the rest of an answer is read when its client has left.
    private let drain: Duration
    let began: ContinuousClock.Instant
    private let isTranslated: Bool
    private let isGuarded: Bool

    init(_ record: CallRecord, upstream: HTTPBody, first: ByteBuffer?, filtersUsage: Bool) {
        self.record = record
        self.upstream = upstream
        let facts = record.facts
        let target = record.state.withLockedValue { $0.target }
        let settings = target.provider.settings.of(target.model)
        let ping = settings.pingSeconds ?? CallSettings.usualPing
        pingAfter = ping > 0 ? .seconds(ping) : nil
        began = facts.began
        isTranslated = target.format != nil
        drain = .seconds(settings.drainSeconds ?? 0)
        outputLimit = AffordableOutput.tokens(facts, target)
        isGuarded = facts.guarding != nil
        state = .init(
            State(
                guarding: facts.guarding.map { AnswerGuard($0.at(target), facts.api) },
                filter: filtersUsage ? UsageChunkFilter() : nil,
                first: first))
        if isGuarded { record.state.withLockedValue { $0.shown = AnswerReader(facts.api, streamed: true) } }
        record.services.relays.insert(self)
    }

    /// The next bytes for the client; nil at the end.
    func next() async -> ByteBuffer? {
        while true {
            let (first, isOver, stop) = state.withLockedValue { state in
                defer { state.first = nil }
                return (state.first, state.isOver, state.stopReason)
            }
            if isOver { return nil }
            if let stop { return end(.stopped(stop)) }
            do {
                var chunk = first
                if chunk == nil {
                    if drain > .zero {
                        chunk = try await upstream.nextUnlessCancelled()
                    } else {
                        var iterator = upstream.makeAsyncIterator()
                        chunk = try await iterator.next()
                    }
                }
                guard let chunk else { return end(.ended) }
                if drain > .zero, Task.isCancelled {
                    try record.state.withLockedValue { try $0.read(chunk) }
                    clientLeft()
                    return nil
                }
                if let output = chunk.readableBytes > 0 ? try pass(chunk) : ping() { return output }
            } catch {
                return end(cause(of: error))
            }
        }
    }

    /// The reader is gone. What was complete by then is a complete call: some clients close before the last chunk.
    func clientLeft() {
        let (wasOver, unread) = state.withLockedValue { state in
            defer {
                state.isOver = true
                state.first = nil
            }
            return (state.isOver, state.first)
        }
        if wasOver { return }
        if let unread { try? record.state.withLockedValue { try $0.read(unread) } }
        if drain > .zero, !record.state.withLockedValue({ $0.reader.isComplete }) {
            // Awaited by the admission, which counts the call until its record ends; a shutdown cancels the upstream.
            Task { await self.readOn() }
        } else {
            upstream.cancel()
            finish(.clientLeft)
        }
    }

    /// For the usage alone.
    private func readOn() async {
        let deadline = Task { [drain, upstream] in
            try await Task.sleep(for: drain)
            upstream.cancel()
        }
        defer { deadline.cancel() }
        var iterator = upstream.makeAsyncIterator()
        do {
            while let chunk = try await iterator.next() { try record.state.withLockedValue { try $0.read(chunk) } }
            finish(.drained)
        } catch {
            finish(record.state.withLockedValue { $0.reader.usageIsFinal } ? .drained : .clientLeft)
        }
    }

    // MARK: Pings

    /// To be called about once a second.
    func tick(at now: ContinuousClock.Instant) {
        guard let pingAfter else { return }
        let isDue = state.withLockedValue { state in
            guard !state.isOver, !state.isPingDue, now - state.lastByte >= pingAfter else { return false }
            state.isPingDue = true
            return true
        }
        if isDue { upstream.nudge() }
    }

    /// Between two events only.
    private func ping() -> ByteBuffer? {
        let isDue = state.withLockedValue { state in
            defer { state.isPingDue = false }
            guard state.isPingDue, !state.aligner.isInsideEvent else { return false }
            state.lastByte = .now
            return true
        }
        return isDue ? ByteBuffer(string: record.facts.api.ping) : nil
    }

    /// Ends the stream for its reader as soon as possible.
    func stop(_ reason: String) {
        state.withLockedValue { $0.stopReason = $0.stopReason ?? reason }
        upstream.cancel()
    }

    /// Nil: nothing to hand out yet.
    private func pass(_ chunk: ByteBuffer) throws -> ByteBuffer? {
        if isTranslated { return translate(chunk) }
        if isGuarded { return try passGuarded(chunk) }
        let (open, isBeyond) = try record.state.withLockedValue { record in
            try record.own.feed(chunk)
            record.noteContent(since: began)
            let isBeyond = outputLimit.map { record.own.isBeyond($0) } ?? false
            return (record.own.isStreamed ? record.own.bytesSinceBoundary : 0, isBeyond)
        }
        let (released, filtered) = state.withLockedValue { state in
            state.lastByte = .now
            let aligned = state.aligner.align(chunk, open: open)
            guard state.filter != nil, aligned.readableBytes > 0 else { return (aligned, aligned) }
            return (aligned, state.filter?.filter(aligned) ?? aligned)
        }
        var output = filtered
        // What is held back is recorded when it is released: a dropped half of an event is no part of the answer.
        record.state.withLockedValue { $0.recorder.append(released) }
        if isBeyond, !state.withLockedValue({ $0.aligner.isInsideEvent }) {
            upstream.cancel()
            if let tail = end(
                .cut("the hold of \(record.facts.grant.amount) is used up: the budget does not cover a longer answer"))
            {
                output.writeImmutableBuffer(tail)
            }
        }
        return output.readableBytes > 0 ? output : nil
    }

    /// Whole events in the client's protocol come out.
    private func translate(_ chunk: ByteBuffer) -> ByteBuffer? {
        state.withLockedValue { $0.lastByte = .now }
        var (output, isBeyond, isOver) = record.state.withLockedValue { record in
            guard record.translator != nil else { return (ByteBuffer(), false, true) }
            let output = record.translator?.receive(chunk) ?? ByteBuffer()
            record.noteContent(since: began)
            if !isGuarded { record.recorder.append(output) }
            let reader = record.reader
            let isBeyond = outputLimit.map { reader.isBeyond($0) } ?? false
            return (output, isBeyond, record.translator?.isFinished ?? true)
        }
        if isGuarded {
            let (released, refusal) = guarded { $0.take(output) }
            output = released
            if let refusal {
                if let tail = block(refusal) { output.writeImmutableBuffer(tail) }
                return output.readableBytes > 0 ? output : nil
            }
        }
        if isBeyond, !isOver {
            upstream.cancel()
            let cause = EndCause.cut(
                "the hold of \(record.facts.grant.amount) is used up: the budget does not cover a longer answer")
            if let tail = end(cause) { output.writeImmutableBuffer(tail) }
        }
        return output.readableBytes > 0 ? output : nil
    }

    /// What a translated stream ends with.
    private func endTranslated(_ cause: EndCause) -> ByteBuffer? {
        state.withLockedValue { $0.isOver = true }
        var tail = record.state.withLockedValue { record -> ByteBuffer in
            let tail: ByteBuffer
            switch cause {
            case .ended: tail = record.translator?.finish() ?? ByteBuffer()
            case .cut(let reason): tail = record.translator?.cut(reason: reason) ?? ByteBuffer()
            case .stopped(let reason):
                tail = record.translator?.fail(UpstreamError(type: "api_error", message: reason)) ?? ByteBuffer()
            case .upstreamFailed(let error):
                tail = record.translator?.fail(UpstreamError(type: "api_error", message: error.message)) ?? ByteBuffer()
            case .clientLeft, .drained, .withheld, .blocked: tail = ByteBuffer()
            }
            if !isGuarded { record.recorder.append(tail) }
            return tail
        }
        if isGuarded {
            let (last, refusal) = endGuarded(tail, cause)
            tail = last
            if let refusal { return finished(.blocked(refusal), tail) }
        }
        finish(cause)
        return tail.readableBytes > 0 ? tail : nil
    }

    private func cause(of error: any Error) -> EndCause {
        if let reason = state.withLockedValue({ $0.stopReason }) { return .stopped(reason) }
        if error is CancellationError { return .clientLeft }
        return .upstreamFailed(error as? AppError ?? AppError(.upstream, "The answer broke off.", cause: error))
    }

    /// What the client still gets.
    func end(_ cause: EndCause) -> ByteBuffer? {
        if isTranslated { return endTranslated(cause) }
        if isGuarded { return endPassedGuarded(cause) }
        let facts = record.facts
        let (reader, hadError) = record.state.withLockedValue { record in
            let hadError = record.own.error != nil
            if case .ended = cause { record.own.finish() }
            return (record.own, hadError)
        }
        var tail = ByteBuffer()
        var released = ByteBuffer()
        state.withLockedValue { state in
            state.isOver = true
            // A partial event is the client's only if nothing follows it.
            let isWhole = if case .ended = cause { reader.isComplete || !reader.isStreamed } else { false }
            if isWhole {
                let rest = state.aligner.rest()
                released = rest
                tail =
                    state.filter.map { filter in
                        var filter = filter
                        var text = filter.filter(rest)
                        text.writeImmutableBuffer(filter.finish())
                        return text
                    } ?? rest
            } else if state.aligner.isInsideEvent {
                tail.writeString("\n\n")
                released = tail
            }
        }
        record.state.withLockedValue { $0.recorder.append(released) }
        let closing = hadError ? ByteBuffer() : closing(cause, reader, facts)
        if closing.readableBytes > 0 {
            tail.writeImmutableBuffer(closing)
            record.state.withLockedValue { $0.recorder.append(closing) }
        }
        finish(cause)
        return tail.readableBytes > 0 ? tail : nil
    }

    func closing(_ cause: EndCause, _ reader: AnswerReader, _ facts: CallRecord.Facts) -> ByteBuffer {
        if reader.isComplete || !reader.isStreamed { return ByteBuffer() }
        switch cause {
        case .ended:
            // What came without its end was not handed out, an error neither.
            if let error = reader.error {
                return ErrorShape.streamError(
                    facts.api, status: 502, message: "\(error.type): \(error.message)", requestID: facts.call.requestID)
            }
            return ErrorShape.streamError(
                facts.api, status: 502, message: "The provider's answer ended before its end.", requestID: facts.call.requestID)
        case .upstreamFailed(let error):
            return ErrorShape.streamError(facts.api, status: 502, message: error.message, requestID: facts.call.requestID)
        case .stopped(let reason):
            return ErrorShape.streamError(facts.api, status: 503, message: reason, requestID: facts.call.requestID)
        case .blocked(let error):
            return ErrorShape.streamError(facts.api, status: 403, message: error.message, requestID: facts.call.requestID)
        case .cut(let reason):
            return ErrorShape.cutEnd(
                reader, reason: reason, requestID: facts.call.requestID, includeUsage: facts.summary.includeUsage == true)
        case .clientLeft, .drained, .withheld: return ByteBuffer()
        }
    }

    func finish(_ cause: EndCause) {
        record.end(cause)
        record.services.relays.remove(self)
    }
}

/// The streams under way in this process.
final class OpenRelays: Sendable {
    private let relays = NIOLockedValueBox<[ObjectIdentifier: Relay]>([:])

    func insert(_ relay: Relay) { relays.withLockedValue { $0[ObjectIdentifier(relay)] = relay } }
    func remove(_ relay: Relay) { relays.withLockedValue { $0[ObjectIdentifier(relay)] = nil } }
    var all: [Relay] { relays.withLockedValue { Array($0.values) } }
}

extension ModelProtocol {
    /// What keeps a stream's connection alive and says nothing.
    var ping: String {
        self == .messages ? "event: ping\ndata: {\"type\": \"ping\"}\n\n" : ": keep-alive\n\n"
    }
}

extension CallRecord.State {
    /// Reads on; what a translator writes is nobody's any more.
    fileprivate mutating func read(_ chunk: ByteBuffer) throws {
        if translator != nil { _ = translator?.receive(chunk) } else { try own.feed(chunk) }
    }
}

import Core
import Foundation
import Logging
import NIOConcurrencyHelpers

/// Brings spans to a collector, in batches, one after the other: the only part that waits for it.
package final class SpanExporter: Sendable {
    package struct Schedule: Sendable {
        /// The longest that a span waits for others.
        package var interval = Duration.seconds(1)
        /// Spans of one request, about half a megabyte.
        package var batch = 512
        /// The pause after the first failure.
        package var pause = Duration.seconds(1)

        package init() {}
    }

    /// What a collector says to a request.
    package struct Answer: Sendable {
        package var status: Int
        package var retryAfter: Int?
        package var body: Data

        package init(status: Int, retryAfter: Int? = nil, body: Data = Data()) {
            self.status = status
            self.retryAfter = retryAfter
            self.body = body
        }
    }

    /// Sends one request's body. Must end by itself, in error if need be, also when the collector does not answer.
    package typealias Send = @Sendable (_ json: [UInt8]) async throws -> Answer

    private struct State {
        var isClosing = false
        /// Tried already, at least once.
        var pending: [Span] = []
        var attempts = 0
        var notBefore: ContinuousClock.Instant?
        var isFailing = false
    }

    private let queue: SpanQueue
    private let resource: [(key: String, value: String)]
    private let version: String
    private let schedule: Schedule
    private let rule: ExportRule
    private let send: Send
    private let logger: Logger
    private let state = NIOLockedValueBox(State())
    private let ended = AsyncStream<Void>.makeStream()

    package init(
        _ queue: SpanQueue, resource: [(key: String, value: String)], version: String, schedule: Schedule = .init(), logger: Logger,
        send: @escaping Send
    ) {
        self.queue = queue
        self.resource = resource
        self.version = version
        self.schedule = schedule
        rule = ExportRule(pause: schedule.pause)
        self.send = send
        self.logger = logger
    }

    /// Until it is cancelled or closed. To be called once.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [queue, schedule] in
                while !Task.isCancelled {
                    try? await Task.sleep(for: schedule.interval)
                    queue.nudge()
                }
            }
            for await _ in queue.wake {
                await exportAll()
                if state.withLockedValue({ $0.isClosing }) { break }
            }
            group.cancelAll()
        }
        giveUp()
        ended.continuation.finish()
    }

    /// Sends what waits, once, and ends `run`. Returns when that is done or the time is over; who cancels `run` afterwards is rid of both.
    package func close(within bound: Duration) async {
        state.withLockedValue { $0.isClosing = true }
        queue.nudge()
        _ = await Deadline.within(bound) { [ended] in for await _ in ended.stream {} }
    }

    private func exportAll() async {
        while !Task.isCancelled, let batch = next() {
            let answer = try? await send(SpanJSON.request(batch, resource: resource, version: version))
            if Task.isCancelled { return }
            note(answer, batch)
        }
    }

    /// Nil: there is nothing to do now.
    private func next() -> [Span]? {
        state.withLockedValue { state in
            if let time = state.notBefore, !state.isClosing, ContinuousClock.now < time { return nil }
            if state.pending.isEmpty {
                state.pending = queue.take(schedule.batch)
                state.attempts = 0
            }
            return state.pending.isEmpty ? nil : state.pending
        }
    }

    private func note(_ answer: Answer?, _ batch: [Span]) {
        let (verdict, isNews) = state.withLockedValue { state in
            state.attempts += 1
            var verdict = rule.verdict(status: answer?.status, retryAfter: answer?.retryAfter, attempts: state.attempts)
            // Who shuts down does not wait for a collector that is away.
            if state.isClosing, case .again = verdict { verdict = .refused }
            let isNews = (verdict != .accepted) != state.isFailing
            state.isFailing = verdict != .accepted
            if case .again(let pause) = verdict {
                state.notBefore = .now + pause
            } else {
                state.pending = []
                state.notBefore = nil
            }
            return (verdict, isNews)
        }
        switch verdict {
        case .accepted:
            let rejected = min(batch.count, answer.map(Self.rejected) ?? 0)
            queue.ended(batch.count - rejected, .exported)
            queue.ended(rejected, .rejected)
        case .refused: queue.ended(batch.count, answer == nil ? .dropped : .rejected)
        case .again: break
        }
        if isNews { tell(verdict, answer) }
    }

    private func tell(_ verdict: ExportRule.Verdict, _ answer: Answer?) {
        if verdict == .accepted { return logger.notice("The collector of traces takes spans again.") }
        logger.warning(
            "The collector of traces takes no spans; they are kept as far as there is room, then dropped and counted (slipway_telemetry_spans_total). Look at --otlp-endpoint.",
            metadata: ["answer": "\(answer.map { "HTTP \($0.status)" } ?? "none")"])
    }

    /// What is left when nobody exports any more.
    private func giveUp() {
        let pending = state.withLockedValue { state in
            defer { state.pending = [] }
            return state.pending.count
        }
        var left = pending
        while case let batch = queue.take(schedule.batch), !batch.isEmpty { left += batch.count }
        queue.ended(left, .dropped)
        if left > 0 { logger.warning("Spans were not exported before the end.", metadata: ["spans": "\(left)"]) }
    }

    /// Of a request that was taken in part.
    private static func rejected(_ answer: Answer) -> Int {
        guard answer.body.count <= 1 << 16, let said = try? JSONDecoder().decode(PartialSuccess.self, from: answer.body) else {
            return 0
        }
        return max(0, said.partialSuccess?.rejectedSpans?.value ?? 0)
    }
}

private struct PartialSuccess: Decodable {
    struct Part: Decodable { var rejectedSpans: Number? }
    /// 64-bit numbers are text in this encoding; some collectors write numbers.
    struct Number: Decodable {
        var value: Int
        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            value = if let text = try? container.decode(String.self) { Int(text) ?? 0 } else { try container.decode(Int.self) }
        }
    }

    var partialSuccess: Part?
}

import Core
import ModelAPI
import NIOConcurrencyHelpers
import Telemetry

/// The spans of one call: itself, and each attempt at it. Names, numbers and words of a few are in them; content and keys never are.
package final class CallTrace: Sendable {
    private struct State {
        var call: Span
        /// Under way, by number.
        var attempts: [Int: Span] = [:]
        var newest: TraceContext?
        var attemptCount = 0
        var isIdentified = false
        var hasEnded = false
    }

    private let tracer: Tracer
    private let isSampled: Bool
    private let state: NIOLockedValueBox<State>

    init(_ tracer: Tracer, _ call: GatewayCall) {
        self.tracer = tracer
        let parent = call.traceParent ?? Self.parent(call.headers)
        let span = tracer.begin("chat", .client, in: parent)
        isSampled = span.context.isSampled
        state = .init(State(call: span))
    }

    /// What the client says it is part of.
    static func parent(_ headers: [(name: String, value: String)]) -> TraceContext? {
        headers.first { $0.name.utf8.count == 11 && $0.name.lowercased() == "traceparent" }.flatMap {
            TraceContext(header: $0.value)
        }
    }

    // MARK: Attempts

    func began(_ target: Target, number: Int) {
        state.withLockedValue { state in
            var span = tracer.begin("POST", .client, in: state.call.context)
            state.newest = span.context
            state.attemptCount = max(state.attemptCount, number)
            guard isSampled else { return }
            span.set("http.request.method", "POST")
            span.set(target)
            span.set("gen_ai.request.model", target.model)
            if number > 1 { span.set("http.request.resend_count", number - 1) }
            state.attempts[number] = span
        }
    }

    /// - Parameter error: nil for the attempt whose answer is handed out: it ends with the call.
    func ended(attempt number: Int, status: Int?, error: String?) {
        guard isSampled else { return }
        let span = state.withLockedValue { state -> Span? in
            state.attempts[number]?.set("http.response.status_code", status)
            guard error != nil else { return nil }
            state.attempts[number]?.fail(status.map { "\($0)" } ?? "upstream")
            return state.attempts.removeValue(forKey: number)
        }
        if let span { tracer.end(span) }
    }

    /// `traceparent` for the newest attempt.
    var header: String? { state.withLockedValue { $0.newest?.header } }

    // MARK: The call

    func identified(_ call: GatewayCall, _ interception: NewInterception, _ summary: RequestSummary, _ api: ModelProtocol) {
        guard isSampled else { return }
        state.withLockedValue { state in
            state.isIdentified = true
            state.call.describe(call, interception, summary, api, namesUsers: tracer.namesUsers)
        }
    }

    /// By the rule that refused it.
    func denied(by rule: String) {
        guard isSampled else { return }
        state.withLockedValue { $0.call.set("slipway.policy.rule", rule) }
    }

    /// - Parameter isStream: then the time is the first piece's.
    func firstByte(isStream: Bool) {
        guard isSampled, isStream else { return }
        state.withLockedValue { $0.call.set("gen_ai.response.time_to_first_chunk", $0.call.elapsed / .seconds(1)) }
    }

    func answered(by model: String?) {
        guard isSampled else { return }
        state.withLockedValue { $0.call.set("gen_ai.response.model", model) }
    }

    func ended(_ facts: CallRecord.Facts, _ target: Target, _ settlement: Settlement, _ usage: Usage) {
        end { span, attempts in
            let ending = settlement.ending
            span.set(target)
            span.set("slipway.policy.rule", facts.interception.policy)
            span.set("gen_ai.response.id", ending.responseID)
            if let reason = ending.stopReason { span.set("gen_ai.response.finish_reasons", [reason]) }
            span.set(usage)
            span.set("http.response.status_code", ending.httpStatus)
            span.set("slipway.cost_dollars", Double(settlement.cost.value) / 1e9)
            span.set("slipway.booking", settlement.state.rawValue)
            if attempts > 1 { span.set("slipway.attempts", attempts) }
            if let error = ending.errorType { span.fail(error) }
        }
    }

    /// It was given the answer of another call, and was not sent.
    func replayed(_ first: InterceptionID) {
        end { span, _ in
            span.set("slipway.replay_of", first.description)
            span.set("http.response.status_code", 200)
        }
    }

    /// By the gateway itself, before the call was sent.
    func refused(_ call: GatewayCall, _ error: AppError, provider: Provider?) {
        let isIdentified = state.withLockedValue { $0.isIdentified }
        end { span, _ in
            if !isIdentified {
                span.set("gen_ai.operation.name", "chat")
                span.set("slipway.request.id", call.requestID)
            }
            span.set("gen_ai.provider.name", provider?.type.conventionalName ?? "slipway")
            span.set("slipway.provider", provider?.name)
            span.fail(error.code.rawValue)
        }
    }

    private func end(_ describe: (inout Span, _ attempts: Int) -> Void) {
        guard isSampled else { return }
        let spans = state.withLockedValue { state -> [Span] in
            if state.hasEnded { return [] }
            state.hasEnded = true
            describe(&state.call, state.attemptCount)
            let open = state.attempts.sorted { $0.key < $1.key }.map { _, attempt in
                var attempt = attempt
                if let failure = state.call.failure { attempt.fail(failure) }
                return attempt
            }
            return open + [state.call]
        }
        for span in spans { tracer.end(span) }
    }
}

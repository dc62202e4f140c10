import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore

/// A call that has its hold: what is known of it, and what passes. It ends exactly once, with one settlement.
final class CallRecord: Sendable {
    /// A class: handed on many times in each call, and of dozens of fields.
    final class Facts: Sendable {
        let call: GatewayCall
        let interception: NewInterception
        let summary: RequestSummary
        let demand: HoldDemand
        let grant: HoldLoop.Grant
        /// The client's.
        let api: ModelProtocol
        let began: ContinuousClock.Instant
        /// Nil: no rule about content holds for the call.
        let guarding: CallGuard?

        init(
            call: GatewayCall, interception: NewInterception, summary: RequestSummary, demand: HoldDemand, grant: HoldLoop.Grant,
            api: ModelProtocol, began: ContinuousClock.Instant, guarding: CallGuard?
        ) {
            self.call = call
            self.interception = interception
            self.summary = summary
            self.demand = demand
            self.grant = grant
            self.api = api
            self.began = began
            self.guarding = guarding
        }
    }

    struct State: Sendable {
        /// Reads along where bytes pass as they are.
        var own: AnswerReader
        /// Reads, and writes what the client gets, where they do not.
        var translator: AnswerTranslator?
        var recorder: AnswerRecorder
        var contentType = ""
        var httpStatus: Int?
        var isRequestWritten = false
        var hasEnded = false
        /// The client is gone, and the answer is read on.
        var hasLeft = false
        /// What an answer with vectors reports.
        var embedding: EmbeddingUsage?
        /// Where the call is now, or was last.
        var target: Target
        var attempt = 1
        /// Of a stream that is handed out.
        var firstChunk: Duration?
        /// Since the call came in: the first content of a stream, the head of an answer that is none.
        var firstToken: Duration?
        /// Of a second attempt while both are under way.
        var beside: HedgeHold?
        /// Kept when there was more than one.
        var attempts: [AttemptLine] = []
        /// Where rules look into the answer: reads what the client gets, for the record.
        var shown: AnswerReader?
        /// What those rules found in it.
        var findings: [ContentFinding] = []

        /// What the upstream has said so far.
        var reader: AnswerReader { translator?.reader ?? own }

        /// What the attempt before brought is forgotten.
        mutating func begin(_ target: Target, attempt: Int, isStream: Bool) {
            self.target = target
            self.attempt = attempt
            httpStatus = nil
            own = AnswerReader(target.api, streamed: isStream)
            translator = nil
            firstToken = nil
            findings = []
        }
    }

    let facts: Facts
    let state: NIOLockedValueBox<State>
    let services: Services

    /// What a record needs to end a call. One for all calls of a gateway.
    final class Services: Sendable {
        let admission: Admission
        let settle: SettleLoop
        let content: ContentLoop
        let threads: ThreadMemory
        let open: OpenCalls
        let relays: OpenRelays
        let meters: Meters
        let cacheAlarm: CacheAlarm

        init(
            admission: Admission, settle: SettleLoop, content: ContentLoop, threads: ThreadMemory, open: OpenCalls,
            relays: OpenRelays, meters: Meters, cacheAlarm: CacheAlarm
        ) {
            self.admission = admission
            self.settle = settle
            self.content = content
            self.threads = threads
            self.open = open
            self.relays = relays
            self.meters = meters
            self.cacheAlarm = cacheAlarm
        }
    }

    /// - Parameter target: the first that will be tried.
    init(_ facts: Facts, target: Target, _ services: Services) {
        self.facts = facts
        self.services = services
        let isTimed = facts.summary.stream && facts.interception.contentMode == .full
        state = .init(
            State(
                own: AnswerReader(target.api, streamed: facts.summary.stream),
                recorder: AnswerRecorder(times: isTimed ? ChunkTimes(since: facts.began) : nil), target: target))
        services.open.insert(self)
    }

    var id: InterceptionID { facts.call.id }
    var hasEnded: Bool { state.withLockedValue { $0.hasEnded } }

    /// A further attempt begins.
    func begin(_ target: Target, attempt: Int) {
        state.withLockedValue { $0.begin(target, attempt: attempt, isStream: facts.summary.stream) }
    }

    /// - Returns: whether the answer is a stream. An error is one JSON body even where a stream was asked for.
    func head(status: Int, contentType: String) -> Bool {
        state.withLockedValue { state in
            state.httpStatus = status
            let isStream = status < 300 && (contentType.hasPrefix("text/event-stream") || contentType.hasPrefix(Self.frames))
            state.contentType = contentType.storable(upTo: 256)
            if let translation = state.target.translation {
                state.contentType = isStream ? "text/event-stream" : "application/json"
                if isStream { state.translator = translation.translator }
            }
            // Some answer a stream to those who asked for none.
            if !isStream, status < 300 { state.firstToken = facts.began.duration(to: .now) }
            if state.own.isStreamed != isStream { state.own = AnswerReader(state.target.api, streamed: isStream) }
            return isStream
        }
    }

    private static let frames = "application/vnd.amazon.eventstream"

    func keep(_ attempts: [AttemptLine]) { state.withLockedValue { $0.attempts = attempts } }

    /// Writes the content that has come since the last time; the request first.
    func writeContent() {
        let write = state.withLockedValue { state -> ContentWrite? in
            if state.hasEnded { return nil }
            return content(&state, .partial, tools: [])
        }
        if let write, facts.interception.contentMode == .full { services.content.write(write) }
    }

    /// Settles the call and writes the rest of its content. Only the first call of it counts.
    func end(_ cause: EndCause) {
        var beside: HedgeHold?
        let ended = state.withLockedValue { state -> (Settlement, ContentWrite, Usage, Target, Duration?)? in
            if state.hasEnded { return nil }
            if state.translator == nil { state.own.finish() }
            let reader = state.reader
            let requestBytes = facts.call.body.readableBytes
            var verdict =
                state.embedding.map {
                    Verdict($0, httpStatus: state.httpStatus, hasLeft: state.hasLeft, requestBytes: requestBytes)
                } ?? Verdict(cause, httpStatus: state.httpStatus, reader: reader, requestBytes: requestBytes)
            verdict.usage.serviceTier = .applied(
                requested: facts.summary.serviceTier, reported: verdict.usage.serviceTier)
            state.shown?.finish()
            let tools = (state.shown ?? reader).blocks.compactMap { block -> Content.ToolCall? in
                guard case .toolUse(let id, let name, let input, _) = block else { return nil }
                return .init(id: id.storable(upTo: 512), name: name.storable(upTo: 512), input: input.storable)
            }
            let settlement = settlement(verdict, state, tools)
            let write =
                content(&state, .complete, tools: tools)
                ?? ContentWrite(organization: facts.interception.organization, interception: id)
            state.hasEnded = true
            swap(&beside, &state.beside)
            facts.call.trace?.answered(by: reader.model)
            return (settlement, write, verdict.usage, state.target, state.firstChunk)
        }
        guard let (settlement, write, usage, target, firstChunk) = ended else { return }
        services.threads.remember(
            write.tools.map(\.id), user: facts.interception.initiator, interception: id, root: facts.grant.threadRoot)
        services.settle.settle(settlement)
        // A shutdown has cut the call in the middle of a race.
        if let beside {
            let why = settlement.ending.error ?? "the call has ended"
            services.settle.settle(beside.settlement(.ended(why: why, status: nil), beside.target, facts))
        }
        if facts.interception.contentMode == .full { services.content.write(write) }
        services.meters.ended(facts, target, settlement, usage, firstChunk: firstChunk)
        facts.call.trace?.ended(facts, target, settlement, usage)
        services.cacheAlarm.ended(facts, target, usage)
        services.open.remove(self)
        services.admission.leave()
    }

    private func settlement(_ verdict: Verdict, _ state: State, _ tools: [Content.ToolCall]) -> Settlement {
        let keepsHashes = facts.interception.contentMode.keepsHashes
        return Settlement(
            interception: id, attempt: state.attempt, organization: facts.interception.organization,
            user: facts.interception.initiator, budgets: facts.grant.budgets, counters: facts.grant.counters,
            hold: facts.grant.amount,
            provider: state.target.provider.name, model: state.target.model.storable, price: state.target.price.id,
            state: verdict.state, usage: verdict.usage, cost: state.target.price.cost(of: verdict.usage),
            answerHash: keepsHashes ? state.recorder.digest : Content.emptyHash,
            answerSize: keepsHashes ? state.recorder.size : 0,
            toolsHash: keepsHashes ? Content.toolsHash(tools) : Content.emptyHash, ending: verdict.ending,
            firstToken: state.firstToken, attempts: state.attempts, findings: state.findings, booking: facts.call.booking)
    }

    private func content(_ state: inout State, _ kind: Content.State, tools: [Content.ToolCall]) -> ContentWrite? {
        guard kind == .complete || !state.isRequestWritten || state.recorder.hasPending else { return nil }
        var write = ContentWrite(organization: facts.interception.organization, interception: id)
        if !state.isRequestWritten {
            state.isRequestWritten = true
            write.chunks = Content.chunks(of: facts.call.body, messages: facts.summary.messageRanges)
            write.manifests.append(
                .init(
                    part: .request, state: .complete, contentType: "application/json", size: facts.call.body.readableBytes,
                    chunks: write.chunks.reduce(into: Data()) { $0.append($1.hash) }))
            write.prompt = facts.summary.storablePrompt
            write.results = facts.summary.storableResults
        }
        write.chunks += state.recorder.cut()
        write.manifests.append(
            .init(
                part: .answer, state: kind, contentType: state.contentType, size: state.recorder.size,
                chunks: state.recorder.chunkHashes, timing: state.recorder.times?.encoded))
        write.tools = tools
        return write
    }
}

extension RequestSummary {
    var storablePrompt: String? { lastUserText?.storable }
    var storableResults: [ToolResult] {
        toolResults.map { ToolResult(id: $0.id.storable(upTo: 512), text: $0.text.storable, isError: $0.isError) }
    }
}

/// The calls under way in this process.
final class OpenCalls: Sendable {
    private let calls = NIOLockedValueBox<[ObjectIdentifier: CallRecord]>([:])

    func insert(_ call: CallRecord) { calls.withLockedValue { $0[ObjectIdentifier(call)] = call } }
    func remove(_ call: CallRecord) { calls.withLockedValue { $0[ObjectIdentifier(call)] = nil } }
    var all: [CallRecord] { calls.withLockedValue { Array($0.values) } }
}

import API
import Core
import Foundation

struct SessionsPage: PageView {
    static let template = "sessions"

    struct Row: Sendable {
        var id: String
        var client: String
        var prompt: String
        var initiator: String
        var provider: String
        var models: String
        var interceptions: String
        var tokens: String
        var cost: String
        var started: String
        var startedIso: String
    }

    var frame: PageFrame
    var summary: String
    var any: Bool
    var sessions: [Row]
    var next: String?
    var accessUrl: String

    init(frame: PageFrame, list: AISessionList, accessURL: String, now: Date) {
        self.frame = frame
        sessions = list.sessions.map { session in
            Row(
                id: session.id, client: session.client, prompt: session.prompt.map { PageText.line($0) } ?? "(no text)",
                initiator: session.initiator, provider: session.providers.joined(separator: ", "),
                models: session.models.joined(separator: ", "),
                interceptions: "\(PageText.count(session.interceptions)) call\(session.interceptions == 1 ? "" : "s")",
                tokens: PageText.count(session.usage.total), cost: NanoDollars(session.costNanoDollars).description,
                started: PageText.ago(session.startedAt, now: now), startedIso: PageText.iso(session.startedAt))
        }
        any = !sessions.isEmpty
        summary = any ? "every model call, by the conversation it belongs to" : ""
        next = list.after
        accessUrl = accessURL
    }
}

struct SessionPage: PageView {
    static let template = "session"

    struct Row: Sendable {
        var id: String
        var started: String
        var startedIso: String
        var prompt: String
        var model: String
        var input: String
        var output: String
        var cost: String
        var state: String
        var tone: String
    }

    var frame: PageFrame
    var id: String
    var initiator: String
    var client: String
    var interceptions: String
    var cost: String
    var calls: [Row]

    init(frame: PageFrame, session: AISession, calls list: [Interception], now: Date) {
        self.frame = frame
        id = session.id
        initiator = session.initiator
        client = session.client
        interceptions = PageText.count(session.interceptions)
        cost = NanoDollars(session.costNanoDollars).description
        calls = list.map { call in
            Row(
                id: call.id, started: PageText.ago(call.startedAt, now: now), startedIso: PageText.iso(call.startedAt),
                prompt: call.prompt.filled.map { PageText.line($0, limit: 80) } ?? PageText.withoutPrompt(call), model: call.model,
                input: call.usage.map { PageText.count($0.allInput) } ?? "–",
                output: call.usage.map { PageText.count($0.outputTokens) } ?? "–",
                cost: call.costNanoDollars.map { NanoDollars($0).description } ?? "–", state: call.status,
                tone: Tone.of(call.status))
        }
    }
}

struct InterceptionPage: PageView {
    static let template = "interception"

    struct Fact: Sendable {
        var name: String
        var value: String
        var link: String?
    }

    struct Tool: Sendable {
        var id: String
        var name: String
        var input: String
        var result: String?
    }

    /// What rules about content found.
    struct Finding: Sendable {
        var place: String
        var what: String
        var times: String
        var effect: String
        var rule: String
        var path: String
    }

    /// One sending of a call that was sent more than once.
    struct Attempt: Sendable {
        var attempt: Int
        var place: String
        var key: String
        var http: String
        var took: String
        var error: String
    }

    struct Row: Sendable {
        var attempt: Int
        var place: String
        var state: String
        var tone: String
        var input: String
        var cacheRead: String
        var cacheWrite: String
        var output: String
        var cost: String
        var price: String
    }

    var frame: PageFrame
    var id: String
    var session: String
    var facts: [Fact]
    var prompt: String?
    var withoutPrompt: String
    var thoughts: String?
    var answer: String?
    var hasTools: Bool
    var tools: [Tool]
    var hasFindings: Bool
    var findings: [Finding]
    var hasAttempts: Bool
    var attempts: [Attempt]
    var hasLedger: Bool
    var ledger: [Row]
    var withoutLedger: String

    init(frame: PageFrame, call: Interception) {
        self.frame = frame
        id = call.id
        session = call.sessionID
        prompt = call.prompt.filled.map { PageText.excerpt($0) }
        withoutPrompt = PageText.sentence(PageText.withoutPrompt(call))
        thoughts = call.thoughts.filled.map { PageText.excerpt($0) }
        answer = call.answer.filled.map { PageText.excerpt($0) }
        tools = (call.toolUsages ?? []).map {
            Tool(
                id: $0.id, name: $0.tool, input: PageText.excerpt(PageText.prettyJSON($0.input)),
                result: $0.result.map { PageText.excerpt($0) })
        }
        hasTools = !tools.isEmpty
        findings = (call.findings ?? []).map {
            Finding(
                place: $0.place, what: $0.subject, times: PageText.count($0.count), effect: $0.effect, rule: $0.rule,
                path: $0.path ?? "–")
        }
        hasFindings = !findings.isEmpty
        ledger = (call.ledger ?? []).map { row in
            Row(
                attempt: row.attempt, place: row.place ?? "–", state: row.state, tone: Tone.of(row.state),
                input: PageText.count(row.usage.inputTokens),
                cacheRead: PageText.count(row.usage.cacheReadInputTokens),
                cacheWrite: PageText.count(row.usage.cacheWriteInputTokens),
                output: PageText.count(row.usage.outputTokens), cost: NanoDollars(row.costNanoDollars).description,
                price: row.priceID)
        }
        attempts = (call.attempts ?? []).map {
            Attempt(
                attempt: $0.attempt, place: "\($0.provider)/\($0.model)", key: $0.credentialHint,
                http: $0.httpStatus.map { "\($0)" } ?? "–",
                took: PageText.count(Int($0.endedMilliseconds - $0.beganMilliseconds)), error: $0.error ?? "–")
        }
        hasAttempts = !attempts.isEmpty
        hasLedger = !ledger.isEmpty
        withoutLedger = call.isUnpaid ? "Nothing was spent." : "Nothing is booked yet."
        facts = Self.facts(of: call)
    }

    /// Why there is less to see than was said; nil when there is not.
    private static func kept(_ call: Interception) -> String? {
        switch call.content {
        case "hashed": "only its hashes and sizes are kept"
        case "none": "nothing of it is kept"
        case "removed": "removed by retention on \(call.contentRemovedAt.map(PageText.iso) ?? "an unknown day")"
        default: nil
        }
    }

    private static func facts(of call: Interception) -> [Fact] {
        var facts = [
            Fact(name: "By", value: call.initiator),
            Fact(name: "Client", value: call.client),
            Fact(name: "Model", value: "\(call.model) at \(call.providerName)"),
        ]
        if let place = call.answeredBy { facts.append(Fact(name: "Answered by", value: place)) }
        facts.append(Fact(name: "State", value: call.status))
        switch call.decision {
        case .allowed(let rule): facts.append(Fact(name: "Allowed by", value: rule))
        case .refusedBy(let rule): facts.append(Fact(name: "Refused by", value: rule))
        case .refused(let reason, let rule):
            facts.append(Fact(name: "Refused", value: reason))
            if !rule.isEmpty { facts.append(Fact(name: "Let pass by", value: rule)) }
        }
        facts += [
            Fact(
                name: "Cost",
                value: call.isUnpaid
                    ? "nothing was spent" : call.costNanoDollars.map { NanoDollars($0).description } ?? "not settled"),
            Fact(name: "Started", value: PageText.iso(call.startedAt)),
        ]
        if let content = Self.kept(call) { facts.append(Fact(name: "Content", value: content)) }
        if let ended = call.endedAt {
            let seconds = ended.timeIntervalSince(call.startedAt)
            facts.append(Fact(name: "Took", value: "\(seconds.formatted(.number.precision(.fractionLength(2)))) s"))
        }
        if let first = call.firstTokenMilliseconds {
            facts.append(Fact(name: "First token", value: "after \(PageText.count(Int(first))) ms"))
        }
        if let first = call.replayOf {
            facts.append(Fact(name: "Answer", value: "another call's, given again", link: "/ai-gateway/interceptions/\(first)"))
        }
        if let first = call.hedgeOf {
            facts.append(Fact(name: "Second attempt", value: "at another call", link: "/ai-gateway/interceptions/\(first)"))
        }
        if let token = call.token ?? call.tokenID { facts.append(Fact(name: "Token", value: token)) }
        if let reason = call.stopReason { facts.append(Fact(name: "Stopped because", value: reason)) }
        if let hint = call.credentialHint { facts.append(Fact(name: "Key", value: hint)) }
        if let task = call.taskID {
            facts.append(Fact(name: "Task", value: "step \(call.taskStep ?? 0) of it", link: "/tasks/\(task)"))
        }
        if let error = call.error, call.status != "refused" { facts.append(Fact(name: "Error", value: error)) }
        return facts
    }
}

extension PageText {
    /// Why there is no prompt to show, as far as the record knows.
    static func withoutPrompt(_ call: Interception) -> String {
        switch (call.status, call.contentMode) {
        case ("refused", _): "refused: nothing that it said is kept"
        case (_, "none"), (_, "hashed"): "its words are not kept"
        case _ where call.content == "removed": "removed by retention"
        case _ where call.hedgeOf != nil: "a second attempt, with the prompt of the first"
        case ("replayed", _): "the same request again"
        // It came with the result of a tool that another call asked for.
        case _ where call.threadParentID != nil: "went on with tool results"
        default: "no text of a user"
        }
    }

    static func sentence(_ words: String) -> String { words.prefix(1).uppercased() + words.dropFirst() + "." }
}

extension TokenUsage {
    var allInput: Int { inputTokens + cacheReadInputTokens + cacheWriteInputTokens }
    var total: Int { allInput + outputTokens }
}

extension String? {
    /// Nil when there is nothing in it: a template's section shows a text that is there, be it empty.
    fileprivate var filled: String? { flatMap { $0.isEmpty ? nil : $0 } }
}

import API
import Core
import Foundation
import Gateway
import ModelAPI

/// Model calls, conversations and spend as the API and the pages show them: one's own, or everybody's for who may see them.
package struct InterceptionDesk: Sendable {
    let gateway: Gateway
    let users: UserService

    /// How the query of a list narrows it.
    package struct Query: Sendable {
        package var initiator: String?
        package var group: String?
        package var provider: String?
        package var providerName: String?
        package var model: String?
        package var client: String?
        package var session: String?
        package var task: String?
        package var policy: String?
        package var decision: String?
        package var status: String?
        package var tool: String?
        package var text: String?
        package var costAtLeast: NanoDollars?
        package var costAtMost: NanoDollars?
        package var startedAfter: Date?
        package var startedBefore: Date?

        package init() {}
    }

    /// - Parameter requestID: of who reads; reading what others said is put on record.
    package func list(
        _ principal: Principal, _ query: Query, _ page: PageRequest, requestID: String
    ) async throws -> InterceptionList {
        let (scope, filter) = try await narrow(principal, query)
        let found = try await gateway.interceptions.list(scope, filter, page)
        try await ContentReads(facts: gateway.facts, principal: principal, requestID: requestID).listed(found.items)
        return InterceptionList(interceptions: found.items.map(\.shown), after: found.next)
    }

    /// Writes the lines of a file, a page at a time, until there are no more or nobody reads on.
    typealias File = @Sendable (_ write: (String) async throws -> Void) async throws -> Void

    /// The same calls as a file, without what was said in them.
    ///
    /// - Parameter limit: of its lines below the header; nil: all.
    /// - Throws: as `list`, before the file begins.
    @Sendable func csv(_ principal: Principal, _ query: Query, limit: Int?) async throws -> File {
        let (scope, filter) = try await narrow(principal, query)
        return { write in
            try await write(CSV.line(InterceptionCSV.columns))
            try await Self.pages(limit) { request in
                let page = try await gateway.interceptions.list(scope, filter, request)
                if !page.items.isEmpty { try await write(page.items.map { CSV.line(InterceptionCSV.cells($0)) }.joined()) }
                return page
            }
        }
    }

    /// Conversations in the same way.
    @Sendable func sessionsCSV(_ principal: Principal, _ query: Query, limit: Int?) async throws -> File {
        let (scope, filter) = try await narrow(principal, query)
        return { write in
            try await write(CSV.line(SessionCSV.columns))
            try await Self.pages(limit) { request in
                let page = try await gateway.interceptions.sessions(scope, filter, request)
                if !page.items.isEmpty { try await write(page.items.map { CSV.line(SessionCSV.cells($0)) }.joined()) }
                return page
            }
        }
    }

    private static func pages<Item>(_ limit: Int?, _ read: (PageRequest) async throws -> Page<Item>) async throws {
        var left = limit ?? .max
        var after: String?
        repeat {
            let page = try await read(try PageRequest(limit: min(1000, left), after: after))
            left -= page.items.count
            after = left > 0 ? page.next : nil
        } while after != nil
    }

    package func get(_ principal: Principal, _ id: InterceptionID, requestID: String) async throws -> API.Interception {
        let detail = try await gateway.interceptions.get(scope(principal), id)
        try await ContentReads(facts: gateway.facts, principal: principal, requestID: requestID).read(detail.interception)
        var shown = detail.interception.shown
        let marks = try await gateway.interceptions.marks(id)
        shown.tokenID = marks.token?.id.description
        shown.token = marks.token?.name
        if detail.interception.contentMode.keepsHashes {
            shown.requestHash = marks.requestHash.hex
            shown.requestBytes = marks.requestSize
            shown.answerHash = marks.answer?.hash.hex
            shown.answerBytes = marks.answer?.size
        }
        shown.answer = detail.answer
        shown.content = detail.content
        shown.contentRemovedAt = detail.removedAt
        shown.thoughts = detail.thoughts
        shown.toolUsages = detail.tools.map {
            ToolUsage(id: $0.id, tool: $0.name, input: $0.input, result: $0.result, isError: $0.isError)
        }
        shown.ledger = detail.ledger.map(\.shown)
        if !detail.attempts.isEmpty { shown.attempts = detail.attempts.map(\.shown) }
        shown.cacheCollapse = detail.cacheCollapse.map {
            API.CacheCollapse(
                previousID: $0.previous.description, cachedBefore: $0.cachedBefore, cachedNow: $0.cachedNow, place: $0.place,
                message: $0.message, byteOffset: $0.offset, excerpt: $0.excerpt, previousByteOffset: $0.previousOffset,
                previousExcerpt: $0.previousExcerpt)
        }
        if !detail.findings.isEmpty {
            shown.findings = detail.findings.map(\.shown)
        }
        return shown
    }

    /// The bytes of a call's request or answer.
    ///
    /// - Parameter part: `request` or `answer`.
    /// - Throws: `notFound` with the reason where there are none; `badRequest` for another part.
    package func content(
        _ principal: Principal, _ id: InterceptionID, part: String, requestID: String
    ) async throws -> RecordedBody {
        guard let part = Content.Part(rawValue: part) else {
            let parts = Content.Part.allCases.map(\.rawValue).joined(separator: " or ")
            throw AppError(.badRequest, "The part is '\(part.prefix(32))'; it can be \(parts).", field: "part")
        }
        let body = try await gateway.interceptions.body(scope(principal), id, part)
        try await ContentReads(facts: gateway.facts, principal: principal, requestID: requestID).read(body.call)
        return body
    }

    package func sessions(
        _ principal: Principal, _ query: Query, _ page: PageRequest, requestID: String
    ) async throws -> AISessionList {
        let (scope, filter) = try await narrow(principal, query)
        let found = try await gateway.interceptions.sessions(scope, filter, page)
        try await ContentReads(facts: gateway.facts, principal: principal, requestID: requestID).listed(found.items)
        return AISessionList(sessions: found.items.map(\.shown), after: found.next)
    }

    /// With the budget of whose it is; of the reader where it is everybody's.
    ///
    /// - Parameter user: `me` or nil, `all`, or somebody's name or id.
    /// - Throws: `forbidden` and `notFound`, naming the field; `badRequest`.
    package func usage(_ principal: Principal, period: String?, user: String?) async throws -> UsageReport {
        let scope = try await InterceptionScope(principal, user: user, among: users)
        let (month, lines) = try await gateway.spend.usage(scope, period: period)
        return UsageReport(
            period: month, rows: lines.map(\.shown), costNanoDollars: lines.reduce(0) { $0 + $1.cost.value },
            budget: try await gateway.budgets.show(principal, user: scope.user ?? principal.user).shown)
    }

    func scope(_ principal: Principal) -> InterceptionScope {
        principal.reach(of: .readInterceptions) == .everyones ? .all(principal) : .own(principal)
    }

    private func narrow(_ principal: Principal, _ query: Query) async throws -> (InterceptionScope, InterceptionFilter) {
        var filter = InterceptionFilter()
        if let initiator = query.initiator { filter.initiator = try await users.get(principal, initiator).id }
        filter.group = query.group
        filter.provider = query.provider
        filter.providerName = query.providerName
        filter.model = query.model
        filter.client = query.client
        filter.session = query.session
        filter.task = try query.task.map { text in
            guard let id = TaskID(text) else {
                throw AppError(.badRequest, "'\(text.prefix(80))' is no id of a task.", field: "task_id")
            }
            return id
        }
        filter.policy = query.policy
        filter.decision = try query.decision.map { word in
            guard let decision = InterceptionFilter.Decision(rawValue: word) else {
                throw AppError(
                    .badRequest, "decision is '\(word.prefix(32))'; it can be 'allowed' or 'refused'.", field: "decision")
            }
            return decision
        }
        filter.status = try query.status.map { word in
            guard InterceptionFilter.statuses.contains(word) else {
                throw AppError(
                    .badRequest,
                    "status is '\(word.prefix(32))'; it can be \(InterceptionFilter.statuses.joined(separator: ", ")).",
                    field: "status")
            }
            return word
        }
        filter.tool = query.tool
        filter.text = query.text
        filter.costAtLeast = query.costAtLeast
        filter.costAtMost = query.costAtMost
        filter.startedAfter = query.startedAfter
        filter.startedBefore = query.startedBefore
        return (scope(principal), filter)
    }
}

extension Usage {
    var shown: TokenUsage {
        TokenUsage(
            inputTokens: input, cacheReadInputTokens: cacheRead, cacheWriteInputTokens: cacheWrite5m + cacheWrite1h,
            outputTokens: output,
            reasoningTokens: reasoning)
    }
}

extension RecordedCall {
    var shown: API.Interception {
        var shown = API.Interception(
            id: id.description, initiatorID: initiator.description, initiator: username, sessionID: session,
            threadRootID: threadRoot.map { InterceptionID($0).description },
            threadParentID: threadParent.map { InterceptionID($0).description },
            taskID: task?.description, taskStep: taskStep, provider: provider, providerName: providerName, model: model,
            client: client,
            policy: policy, credentialHint: credentialHint, status: status, httpStatus: httpStatus, error: error,
            stopReason: stopReason,
            streamed: isStreamed, prompt: prompt, usage: usage.shown, costNanoDollars: cost.value, startedAt: startedAt,
            endedAt: endedAt, contentMode: contentMode.rawValue)
        if let agent {
            shown.agentID = agent.id
            shown.parentAgentID = agent.parent
            shown.agentType = agent.type
            shown.requestClass = agent.requestClass
            shown.clientHints = agent.hints.flatMap { try? APICoding.decoder().decode(ClientHints.self, from: Data($0.utf8)) }
        }
        shown.replayOf = replayOf?.description
        shown.hedgeOf = hedgeOf?.description
        shown.firstTokenMilliseconds = firstToken.map { Int64($0 / .milliseconds(1)) }
        return shown
    }
}

extension RecordedSession {
    fileprivate var shown: API.AISession {
        API.AISession(
            id: id, initiatorID: initiator.description, initiator: username, client: client, providers: providers, models: models,
            prompt: prompt, interceptions: interceptions, usage: usage.shown, costNanoDollars: cost.value, startedAt: startedAt,
            endedAt: endedAt)
    }
}

extension BookedAttempt {
    fileprivate var shown: API.LedgerRow {
        var shown = API.LedgerRow(
            attempt: attempt, state: state, usage: usage.shown, costNanoDollars: cost.value, holdNanoDollars: hold.value,
            overrunNanoDollars: overrun.value, priceID: price, settledAt: settledAt)
        (shown.provider, shown.model) = (provider, model)
        return shown
    }
}

extension AttemptLine {
    fileprivate var shown: CallAttempt {
        CallAttempt(
            attempt: attempt, provider: provider, model: model, credentialHint: credentialHint, httpStatus: httpStatus,
            error: error,
            beganMilliseconds: beganMilliseconds, endedMilliseconds: endedMilliseconds)
    }
}

extension UsageLine {
    fileprivate var shown: UsageRow {
        UsageRow(
            userID: user.description, username: username, provider: provider, model: model, calls: calls, usage: usage.shown,
            costNanoDollars: cost.value)
    }
}

extension RecordedFinding {
    var shown: API.ContentFinding {
        API.ContentFinding(
            place: place, path: path.isEmpty ? nil : path, subject: subject, rule: rule, effect: effect.rawValue, count: count)
    }
}

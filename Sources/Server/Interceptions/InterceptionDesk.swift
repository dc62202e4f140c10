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
        package var provider: String?
        package var providerName: String?
        package var model: String?
        package var client: String?
        package var session: String?
        package var task: String?
        package var startedAfter: Date?
        package var startedBefore: Date?

        package init() {}
    }

    package func list(_ principal: Principal, _ query: Query, _ page: PageRequest) async throws -> InterceptionList {
        let (scope, filter) = try await narrow(principal, query)
        let found = try await gateway.interceptions.list(scope, filter, page)
        return InterceptionList(interceptions: found.items.map(\.shown), after: found.next)
    }

    package func get(_ principal: Principal, _ id: InterceptionID) async throws -> API.Interception {
        let detail = try await gateway.interceptions.get(scope(principal), id)
        var shown = detail.interception.shown
        shown.answer = detail.answer
        shown.thoughts = detail.thoughts
        shown.toolUsages = detail.tools.map {
            ToolUsage(id: $0.id, tool: $0.name, input: $0.input, result: $0.result, isError: $0.isError)
        }
        shown.ledger = detail.ledger.map(\.shown)
        shown.cacheCollapse = detail.cacheCollapse.map {
            API.CacheCollapse(
                previousID: $0.previous.description, cachedBefore: $0.cachedBefore, cachedNow: $0.cachedNow, place: $0.place,
                message: $0.message, byteOffset: $0.offset, excerpt: $0.excerpt, previousByteOffset: $0.previousOffset,
                previousExcerpt: $0.previousExcerpt)
        }
        return shown
    }

    package func sessions(_ principal: Principal, _ query: Query, _ page: PageRequest) async throws -> AISessionList {
        let (scope, filter) = try await narrow(principal, query)
        let found = try await gateway.interceptions.sessions(scope, filter, page)
        return AISessionList(sessions: found.items.map(\.shown), after: found.next)
    }

    /// - Parameter everyones: asked for; it has effect only for who may see it.
    package func usage(_ principal: Principal, period: String?, everyones: Bool) async throws -> UsageReport {
        let scope: InterceptionScope = everyones ? scope(principal) : .own(principal)
        let (month, lines) = try await gateway.interceptions.usage(scope, period: period)
        return UsageReport(
            period: month, rows: lines.map(\.shown), costNanoDollars: lines.reduce(0) { $0 + $1.cost.value },
            budget: try await gateway.budgets.show(principal, user: principal.user).shown)
    }

    private func scope(_ principal: Principal) -> InterceptionScope {
        principal.reach(of: .readInterceptions) == .everyones ? .all(principal) : .own(principal)
    }

    private func narrow(_ principal: Principal, _ query: Query) async throws -> (InterceptionScope, InterceptionFilter) {
        var filter = InterceptionFilter()
        if let initiator = query.initiator { filter.initiator = try await users.get(principal, initiator).id }
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
        API.Interception(
            id: id.description, initiatorID: initiator.description, initiator: username, sessionID: session,
            threadRootID: threadRoot.map { InterceptionID($0).description },
            threadParentID: threadParent.map { InterceptionID($0).description },
            taskID: task?.description, taskStep: taskStep, provider: provider, providerName: providerName, model: model,
            client: client,
            policy: policy, credentialHint: credentialHint, status: status, httpStatus: httpStatus, error: error,
            stopReason: stopReason,
            streamed: isStreamed, prompt: prompt, usage: usage.shown, costNanoDollars: cost.value, startedAt: startedAt,
            endedAt: endedAt)
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
        API.LedgerRow(
            attempt: attempt, state: state, usage: usage.shown, costNanoDollars: cost.value, holdNanoDollars: hold.value,
            overrunNanoDollars: overrun.value, priceID: price, settledAt: settledAt)
    }
}

extension UsageLine {
    fileprivate var shown: UsageRow {
        UsageRow(
            userID: user.description, username: username, provider: provider, model: model, calls: calls, usage: usage.shown,
            costNanoDollars: cost.value)
    }
}

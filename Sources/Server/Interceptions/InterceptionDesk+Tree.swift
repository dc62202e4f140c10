import API
import Core
import Foundation
import Gateway

extension InterceptionDesk {
    /// What a session cost, by thread and agent.
    ///
    /// - Throws: `notFound`, also for somebody else's.
    package func tree(_ principal: Principal, session: String, requestID: String) async throws -> AISessionTree {
        let tree = try await gateway.interceptions.tree(scope(principal), session: session)
        try await ContentReads(facts: gateway.facts, principal: principal, requestID: requestID).read(tree, session: session)
        return AISessionTree(
            id: session, interceptions: tree.total.interceptions, usage: tree.total.usage.shown,
            costNanoDollars: tree.total.cost.value, threads: tree.threads.map(\.thread))
    }
}

extension SessionTree.Node {
    fileprivate var thread: AISessionTree.Thread {
        AISessionTree.Thread(
            id: InterceptionID(first.thread).description, initiatorID: first.initiator.description, initiator: first.username,
            client: first.client, prompt: first.prompt, requestClass: first.agent?.requestClass, interceptions: own.interceptions,
            usage: own.usage.shown, costNanoDollars: own.cost.value, totalInterceptions: total.interceptions,
            totalCostNanoDollars: total.cost.value, startedAt: first.startedAt, endedAt: endedAt, agents: agents.map(\.agent))
    }

    private var agent: AISessionTree.Agent {
        AISessionTree.Agent(
            id: first.agent?.id ?? "", parentAgentID: first.agent?.parent, agentType: first.agent?.type,
            requestClass: first.agent?.requestClass, threadRootID: InterceptionID(first.thread).description, prompt: first.prompt,
            interceptions: own.interceptions, usage: own.usage.shown, costNanoDollars: own.cost.value,
            totalInterceptions: total.interceptions, totalCostNanoDollars: total.cost.value, startedAt: first.startedAt,
            endedAt: endedAt, agents: agents.map(\.agent))
    }
}

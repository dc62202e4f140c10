import Core
import Foundation
import ModelAPI
import Postgres

@testable import Gateway

/// Calls as far as their holds, without anybody who makes them.
extension Stage {
    func request(
        _ replica: ReplicaID = ReplicaID(), id: InterceptionID = InterceptionID(), as principal: Principal? = nil,
        toolCall: String? = nil, provider: String = "anthropic",
        demand: HoldDemand = .init(full: NanoDollars(1_000_000), least: NanoDollars(1_000_000))
    ) throws -> HoldLoop.Request {
        let principal = principal ?? user
        let price = try Self.book().price(of: Self.model, type: .anthropic, organization: Self.organization, at: Date())
        return HoldLoop.Request(
            interception: NewInterception(
                id: id, organization: Self.organization, initiator: principal.user, replica: replica, requestID: "r",
                provider: "anthropic", providerName: provider, modelProtocol: "messages", route: "v1/messages", model: Self.model,
                isStreamed: false, client: "test", toolCall: toolCall, policy: "test", price: price?.id,
                requestHash: Content.emptyHash, requestSize: 0, promptHash: Content.promptHash(nil, [])),
            demand: demand)
    }

    func settlement(
        _ request: HoldLoop.Request, _ grant: HoldLoop.Grant, attempt: Int = 1, state: Settlement.State = .final,
        cost: NanoDollars = NanoDollars(60_000)
    ) -> Settlement {
        let call = request.interception
        return Settlement(
            interception: call.id, attempt: attempt, organization: call.organization, user: call.initiator, budgets: grant.budgets,
            hold: grant.amount, provider: call.providerName, model: call.model, price: call.price ?? "", state: state,
            usage: state == .unknown ? Usage() : Usage(input: 10, output: 5), cost: cost, answerHash: Content.emptyHash,
            answerSize: 0, toolsHash: Content.emptyHash,
            ending: .init(status: state == .unknown ? .unknown : .completed, error: state == .unknown ? "died" : nil))
    }

    /// What a replica that is dead for long left behind.
    func age() async throws {
        try await pool.execute("UPDATE ai_holds SET created_at = created_at - interval '5 seconds'")
    }

    /// The first statement of its kind, and no later one, runs this first; a roll-back does not bring it back.
    func once(before event: String, on table: String, _ action: String) async throws {
        try await pool.execute("CREATE SEQUENCE once_\(unsafeSQL: table)")
        try await pool.execute(
            """
            CREATE FUNCTION once_\(unsafeSQL: table)() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF nextval('once_\(unsafeSQL: table)') = 1 THEN \(unsafeSQL: action); END IF; RETURN NULL; END $$
            """)
        try await pool.execute(
            """
            CREATE TRIGGER once BEFORE \(unsafeSQL: event) ON \(unsafeSQL: table) FOR EACH STATEMENT
            EXECUTE FUNCTION once_\(unsafeSQL: table)()
            """)
    }
}

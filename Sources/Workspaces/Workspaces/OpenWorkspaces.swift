import Core
import NIOConcurrencyHelpers

/// Which agent a person's word for a workspace means, so that one command after the other need not ask the database.
///
/// What was looked up stays true for as long as that very connection stands: a workspace keeps its owner and its name for life,
/// and whatever stops or deletes it ends the connection.
final class OpenWorkspaces: Sendable {
    struct Key: Hashable, Sendable {
        var organization: OrganizationID
        var user: UserID
        /// Id or name.
        var reference: String

        init(_ principal: Principal, _ reference: String) {
            (organization, user, self.reference) = (principal.organization, principal.user, reference)
        }
    }

    private static let most = 1000
    private let agents = NIOLockedValueBox<[Key: AgentConnection]>([:])

    subscript(key: Key) -> AgentConnection? {
        guard let agent = agents.withLockedValue({ $0[key] }) else { return nil }
        if agent.isOpen { return agent }
        agents.withLockedValue { $0[key] = nil }
        return nil
    }

    func remember(_ agent: AgentConnection, as key: Key) {
        agents.withLockedValue { agents in
            if agents.count >= Self.most { agents = agents.filter { $0.value.isOpen } }
            if agents.count < Self.most { agents[key] = agent }
        }
    }

    /// It is about to stop: what comes now is told so.
    func forget(_ workspace: WorkspaceID) {
        agents.withLockedValue { agents in agents = agents.filter { $0.value.workspace != workspace } }
    }
}

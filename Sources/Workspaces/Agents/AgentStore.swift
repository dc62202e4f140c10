import Core
import Foundation
import Postgres

/// The SQL of workspace agents.
struct AgentStore: Sendable {
    let pool: PostgresPool

    /// Whose token it is. The lookup is by hash, so its time says nothing about tokens.
    func workspace(of token: AgentToken) async throws -> WorkspaceID? {
        try await pool.query(
            """
            SELECT a.workspace_id FROM workspace_agents a JOIN workspaces w ON w.id = a.workspace_id
            WHERE a.token_hash = \(token.hash) AND a.revoked_at IS NULL AND w.deleted_at IS NULL
            """
        ).first?["workspace_id"]
    }

    func noteConnected(_ workspace: WorkspaceID, replica: ReplicaID, sandbox: String, version: String) async throws {
        try await pool.withTransaction(synchronousCommit: false) {
            try await $0.execute(
                """
                UPDATE workspace_agents SET sandbox_id = \(String(sandbox.prefix(128))), version = \(String(version.prefix(128))),
                    replica_id = \(replica), first_connected_at = coalesce(first_connected_at, now()), last_connected_at = now(),
                    disconnected_at = NULL
                WHERE workspace_id = \(workspace) AND revoked_at IS NULL
                """)
        }
    }

    /// Only what this replica saw: the agent may have connected to another one since.
    func noteDisconnected(_ workspace: WorkspaceID, replica: ReplicaID) async throws {
        try await pool.withTransaction(synchronousCommit: false) {
            try await $0.execute(
                """
                UPDATE workspace_agents SET disconnected_at = now()
                WHERE workspace_id = \(workspace) AND revoked_at IS NULL AND replica_id = \(replica)
                """)
        }
    }
}

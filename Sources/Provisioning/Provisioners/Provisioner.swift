import Core

/// Makes, finds and unmakes the resources of workspaces. The built-in one does so with sandboxes on its own host; it runs in a
/// process of its own, so that what it executes for a template's author cannot reach the control plane.
package protocol Provisioner: Sendable {
    /// - Throws: `unavailable` with what is missing on its host.
    func probe() async throws -> SandboxCapabilities
    /// Returns when commands can be started as soon as the agent connects.
    func start(_ spec: SandboxSpec) async throws -> SandboxRecord
    /// Ends the sandbox; not an error when it has ended.
    func stop(_ record: SandboxRecord) async throws
    /// Deletes a stopped workspace's files; not an error when they are gone.
    func delete(workspace: WorkspaceID, number: Int) async throws
    /// What runs in a workspace's place now; nil: nothing.
    func status(workspace: WorkspaceID, number: Int) async throws -> SandboxRecord?
    /// Whether it still lives; if so its death will be told.
    func adopt(_ record: SandboxRecord, limits: SandboxLimits) async throws -> Bool
    func usage(_ record: SandboxRecord) async throws -> SandboxUsage
    /// The end of what the workspace's sandbox itself has to say; empty when there is nothing.
    func log(workspace: WorkspaceID, number: Int) async throws -> String
    /// Every death of a sandbox that was started or adopted through this value, once each. One consumer.
    var deaths: AsyncStream<SandboxDeath> { get }
}

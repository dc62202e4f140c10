/// What this host offers to sandboxes: found by starting one and ending it at once.
package struct SandboxCapabilities: Codable, Sendable {
    package var isolation: SandboxIsolation
    package var bubblewrap: String
    /// From the request to a zone that serves.
    package var startMilliseconds: Double
}

/// The parts of a running server that have to be closed, in no particular order.
package enum ServerPart: String, Sendable, CaseIterable {
    /// `/readyz` says 503, then the drain delay passes.
    case readiness
    /// Accepts no connection any more.
    case listener
    /// Accepts no new task, job or lease.
    case admission
    /// Steps of tasks: idle workers hand over at once.
    case taskWorker
    /// Streams to clients end or are cut with a protocol-valid end; ledger, holds and audit are flushed.
    case gateway
    /// Viewers, long polls and terminals hear "going away, reconnect".
    case eventStreams
    case agentSessions
    /// Connections that are still open.
    case connections
    case provisioners
    case demoModel
    case transport
    /// Spans that wait are exported.
    case telemetry
    case reconcilers
    case settings
    case heartbeat
    case pool
    case cluster
}

/// The one list by which a server is closed: phase after phase, in a phase group after group, the parts of a group together.
///
/// The gateway comes before anything that waits for sessions: its streams are sessions themselves, and waiting for them first is
/// how a stall is made.
package struct ShutdownPlan: Sendable {
    package struct Phase: Sendable {
        package var name: String
        /// After this long the phase is left behind, with a line in the log that names what had not ended.
        package var bound: Duration
        package var groups: [[ServerPart]]
    }

    package var phases: [Phase]
    /// All phases together; a phase that comes late has what is left, but never less than half a second.
    package var total = Duration.seconds(28)

    package func bound(of phase: Phase, after elapsed: Duration) -> Duration {
        min(phase.bound, max(total - elapsed, .milliseconds(500)))
    }

    /// For what comes after the grace: streams are cut with their proper end, and everything is settled and flushed.
    private static let cutTime = Duration.seconds(4)

    package static func slipway(drainDelay: Duration, grace: Duration) -> ShutdownPlan {
        ShutdownPlan(
            phases: [
                Phase(name: "drain", bound: drainDelay + .seconds(1), groups: [[.readiness], [.listener, .admission]]),
                Phase(name: "loop and gateway", bound: grace + cutTime, groups: [[.taskWorker, .gateway]]),
                Phase(name: "sessions", bound: .seconds(1), groups: [[.eventStreams, .agentSessions], [.connections]]),
                Phase(name: "provisioners", bound: .seconds(5), groups: [[.provisioners]]),
                Phase(
                    name: "background", bound: .seconds(1),
                    groups: [[.demoModel, .reconcilers, .settings, .heartbeat, .telemetry], [.transport]]),
                Phase(name: "storage", bound: .seconds(5), groups: [[.pool], [.cluster]]),
            ], total: drainDelay + .seconds(28))
    }
}

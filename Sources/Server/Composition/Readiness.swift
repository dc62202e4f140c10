import NIOConcurrencyHelpers

/// Whether this server should be sent requests, and if not, why.
package final class Readiness: Sendable {
    private struct State {
        var phase: String? = "starting"
        var checks: [@Sendable () -> String?] = []
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    /// Nil: ready.
    package var problem: String? {
        let (phase, checks) = state.withLockedValue { ($0.phase, $0.checks) }
        if let phase { return phase }
        return checks.lazy.compactMap { $0() }.first
    }

    /// Asked at each probe; must be quick.
    package func require(_ check: @escaping @Sendable () -> String?) { state.withLockedValue { $0.checks.append(check) } }
    package func started() { state.withLockedValue { $0.phase = nil } }
    package func drain() { state.withLockedValue { $0.phase = "shutting down" } }
}

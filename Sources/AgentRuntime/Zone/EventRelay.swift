import Glibc
import NIOConcurrencyHelpers

/// Holds the zone's events back until the table was adopted, so that none is lost or taken twice.
final class EventRelay: Sendable {
    private struct State {
        var target: (ProcessTable, AgentLog)?
        var held: [ZoneEvent] = []
    }

    private let state = NIOLockedValueBox(State())

    func handle(_ event: ZoneEvent) {
        let target = state.withLockedValue { state -> (ProcessTable, AgentLog)? in
            if state.target == nil { state.held.append(event) }
            return state.target
        }
        guard let (processes, log) = target else {
            if case .gone = event { exit(1) }
            return
        }
        deliver(event, processes, log)
    }

    func begin(_ processes: ProcessTable, _ log: AgentLog) {
        while true {
            let held = state.withLockedValue { state -> [ZoneEvent] in
                defer { state.held = [] }
                if state.held.isEmpty { state.target = (processes, log) }
                return state.held
            }
            if held.isEmpty { return }
            for event in held { deliver(event, processes, log) }
        }
    }

    private func deliver(_ event: ZoneEvent, _ processes: ProcessTable, _ log: AgentLog) {
        if case .gone = event {
            // Everything the agent lived for has ended.
            log.error("the zone has ended")
            exit(1)
        }
        processes.handle(event)
    }
}

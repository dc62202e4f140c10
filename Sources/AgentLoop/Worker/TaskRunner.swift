import Core
import Foundation
import Logging
import ModelAPI
import NIOConcurrencyHelpers

/// Performs what the machine of one task wants, for as long as the lease holds.
///
/// One loop handles events in order and awaits the commits; opening, asking, calling and saving run beside it and report back.
package final class TaskRunner: Sendable {
    enum Event: Sendable {
        case step(StepEvent)
        case opened(OpenWorkspace, RepositoryWork.Opened)
        case called(number: Int, CallOutcome, read: (process: Int, cursor: Int)?)
        case saved(SavedWork?)
        /// Something beside the loop found that nothing can go on, e.g. the lease is lost.
        case broke(any Error)
    }

    package let lease: Lease
    let environment: LoopEnvironment
    private let events = AsyncStream.makeStream(of: Event.self)
    private let interruptedBy = NIOLockedValueBox<String?>(nil)

    package init(_ lease: Lease, _ environment: LoopEnvironment) {
        self.lease = lease
        self.environment = environment
    }

    package func stop(_ stop: StepMachine.Stop, by: String? = nil) {
        if let by { note(interruptedBy: by) }
        report(.step(.stop(stop)))
    }

    func note(interruptedBy by: String) { interruptedBy.withLockedValue { $0 = by } }

    /// The lease is another's: everything ends at once, and nothing more is written.
    package func abort() { report(.broke(LeaseLost(task: lease.task))) }

    func report(_ event: Event) { events.continuation.yield(event) }

    /// Until the task is over for this owner.
    ///
    /// - Throws: `LeaseLost`; anything else leaves the lease, and the rows say where to go on.
    package func run() async throws {
        var snapshot = try await environment.store.load(lease)
        try await takeBookedCost(&snapshot)
        if let by = snapshot.interruptBy { interruptedBy.withLockedValue { $0 = $0 ?? by } }
        guard snapshot.isOwnerActive else {
            let ending = Ending.paused(.policy, message: "The task's owner, \(snapshot.principal.username), is suspended.")
            _ = try await environment.store.finish(lease, ending, interruptedBy: nil, cost: snapshot.position.cost)
            return
        }
        var performer = StepPerformer(self, snapshot)
        do {
            try await perform(&performer)
            await performer.end()
        } catch {
            await performer.end()
            throw error
        }
    }

    private func perform(_ performer: inout StepPerformer) async throws {
        try await performer.begin()
        for await event in events.stream {
            if performer.isOver { return }
            try await performer.handle(event)
            if performer.isOver { return }
        }
    }

    /// Calls of an owner that died were booked without it. What an answer costs that is recalled is added when it is there.
    private func takeBookedCost(_ snapshot: inout TaskSnapshot) async throws {
        if case .unanswered = snapshot.position.place { return }
        guard let ledger = environment.ledger else { return }
        snapshot.position.cost = try await ledger.costs(of: [lease.task])[lease.task] ?? .zero
    }

    var interrupter: String? { interruptedBy.withLockedValue { $0 } }
}

import Core
import ModelAPI

/// How a task advances: events in, actions out, no I/O and no clock.
///
/// The worker performs the actions in their order and awaits each commit; what takes longer (opening, asking, calling, saving) reports
/// back as an event. A machine that is made from a task's rows goes on where the last owner was.
package struct StepMachine: Sendable {
    package enum Phase: Sendable, Equatable {
        case new
        /// The workspace is being opened and the repository brought in.
        case opening
        /// The next step is being committed.
        case beginning
        /// The gateway is asked for the answer that an earlier owner may have got.
        case recalling(StepRef)
        case asking(StepRef)
        /// One call runs at a time, in the model's order.
        case acting(StepRef, current: Int, rest: [Int])
        case pruning
        /// The turn's work is being committed in the repository and saved.
        case saving(Ending)
        case finishing(Ending)
        case over
    }

    /// What asks the task to stop, by rank: a higher one takes the place of a lower one.
    package enum Stop: Int, Sendable, Comparable {
        /// The server stops: hand over.
        case drain
        /// The time limit is reached.
        case deadline
        case interrupt

        package static func < (a: Stop, b: Stop) -> Bool { a.rawValue < b.rawValue }
    }

    package internal(set) var phase = Phase.new
    package internal(set) var position: Position
    /// The highest that was asked for.
    var stop: Stop?
    var hasWorkspace = false

    package init(_ position: Position) {
        self.position = position
        if position.isInterrupted { stop = .interrupt }
    }

    package mutating func handle(_ event: StepEvent) -> [StepAction] {
        switch event {
        case .began: began()
        case .opened: opened()
        case .openFailed(let failure): openFailed(failure)
        case .stepBegun(let step): stepBegun(step)
        case .booked(let cost): booked(cost)
        case .recalled(let answer): recalled(answer)
        case .answered(let answer): answered(answer)
        case .askFailed(let failure): askFailed(failure)
        case .callEnded(let number, let outcome): callEnded(number, outcome)
        case .pruned(let gained): pruned(gained)
        case .workSaved: workSaved()
        case .workFailed(let message, let isTransient): workFailed(message, isTransient: isTransient)
        case .finished: finished()
        case .messagesWait: messagesWait()
        case .stop(let stop): stopped(stop)
        }
    }
}

import Core

extension StepMachine {
    /// Where the rows say the task is.
    package struct Position: Sendable {
        package enum Place: Sendable, Equatable {
            /// Every call has its result.
            case between
            case unanswered(StepRef)
            /// Calls without a result, in order. `started`: the first may have been started.
            case acting(StepRef, open: [Int], started: Bool)
            /// The model has said its last words; the work is not saved yet.
            case settling(text: String)
        }

        package var place: Place
        package var nextStep: Int
        package var nextAttempt: Int
        package var lastCall: Int
        package var cost: NanoDollars
        package var limits: TaskLimits
        package var failures: Int
        package var nudges: Int
        package var repetition: RepetitionGuard
        package var isInterrupted: Bool

        package init(
            place: Place = .between, nextStep: Int = 1, nextAttempt: Int = 1, lastCall: Int = 0, cost: NanoDollars = .zero,
            limits: TaskLimits = .init(), failures: Int = 0, nudges: Int = 0, repetition: RepetitionGuard = .init(),
            isInterrupted: Bool = false
        ) {
            self.place = place
            self.nextStep = nextStep
            self.nextAttempt = nextAttempt
            self.lastCall = lastCall
            self.cost = cost
            self.limits = limits
            self.failures = failures
            self.nudges = nudges
            self.repetition = repetition
            self.isInterrupted = isInterrupted
        }
    }
}

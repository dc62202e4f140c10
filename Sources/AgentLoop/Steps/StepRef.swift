import Core

/// One attempt at a step: its model call is known by the interception.
package struct StepRef: Sendable, Equatable {
    package var number: Int
    package var attempt: Int
    package var interception: InterceptionID

    package init(number: Int, attempt: Int, interception: InterceptionID) {
        self.number = number
        self.attempt = attempt
        self.interception = interception
    }
}

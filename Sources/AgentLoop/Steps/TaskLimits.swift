import Core

/// What a task may use before it pauses and asks. Nil: no limit.
package struct TaskLimits: Sendable, Equatable {
    package var cost: NanoDollars?
    package var steps: Int?
    /// Time in which a worker is at it; waiting and pauses do not count.
    package var seconds: Int?

    package init(cost: NanoDollars? = nil, steps: Int? = nil, seconds: Int? = nil) {
        self.cost = cost
        self.steps = steps
        self.seconds = seconds
    }

    /// - Throws: `badRequest` naming the limit that makes no sense.
    package func checked() throws -> TaskLimits {
        if let cost, cost <= .zero {
            throw AppError(.badRequest, "The cost limit is \(cost); it must be more than nothing.", field: "limits.max_cost")
        }
        if let steps, !(1...100_000).contains(steps) {
            throw AppError(.badRequest, "The step limit is \(steps); it must be from 1 to 100000.", field: "limits.max_steps")
        }
        if let seconds, !(1...2_592_000).contains(seconds) {
            throw AppError(
                .badRequest, "The time limit is \(seconds) seconds; it must be from 1 to 2592000.", field: "limits.max_seconds")
        }
        return self
    }

    /// Where a limit is given it takes the place of the present one.
    package func raised(by other: TaskLimits) -> TaskLimits {
        TaskLimits(cost: other.cost ?? cost, steps: other.steps ?? steps, seconds: other.seconds ?? seconds)
    }
}

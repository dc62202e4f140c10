import Core
import HTTPTransport

/// What the attempts of one call came to.
struct AttemptLog {
    private let began = ContinuousClock.now
    private let trace: CallTrace?
    private(set) var lines: [AttemptLine] = []
    /// The place of the one under way; of two, of the one that answers.
    var current = -1

    init(trace: CallTrace?) { self.trace = trace }

    private var milliseconds: Int64 { began.duration(to: .now).milliseconds }

    mutating func begin(_ attempt: Attempt) {
        // The first is written down when a second one follows, or never: most calls have one.
        lines.append(
            AttemptLine(
                attempt: lines.count + 1, provider: attempt.target.provider.name, model: attempt.target.model.storable,
                credentialHint: attempt.key.hint, beganMilliseconds: milliseconds, endedMilliseconds: 0))
        current = lines.count - 1
        trace?.began(attempt.target, number: lines.count)
    }

    /// - Parameter place: nil: the current one.
    mutating func end(status: Int?, error: String?, at place: Int? = nil) {
        let index = place ?? current
        lines[index].httpStatus = status
        lines[index].error = error?.storable(upTo: 500)
        lines[index].endedMilliseconds = milliseconds
        trace?.ended(attempt: index + 1, status: status, error: error)
    }
}

import Core
import ModelAPI

/// Why the relay of an answer ended.
enum EndCause: Sendable {
    /// The upstream closed its answer in an orderly way.
    case ended
    case clientLeft
    /// The client left, and the rest was read for its usage.
    case drained
    /// Slipway ended it because the hold was used up.
    case cut(String)
    /// Slipway ended it because the server shuts down: the client is to call again.
    case stopped(String)
    case upstreamFailed(AppError)
    /// A rule does not let the answer, or the rest of it, pass.
    case blocked(AppError)
    /// The call could not be put on record, so its answer was withheld.
    case withheld(AppError)
}

/// What is booked for a call that ended so. A pure rule: no I/O, no clock.
struct Verdict: Sendable {
    var state: Settlement.State
    var usage: Usage
    var ending: Settlement.Ending

    /// - Parameters:
    ///   - httpStatus: nil when no head of an answer came.
    ///   - reader: has read what came.
    init(_ cause: EndCause, httpStatus: Int?, reader: AnswerReader, requestBytes: Int) {
        var ending = Settlement.Ending(
            status: .completed, httpStatus: httpStatus, responseID: reader.id.map { $0.storable(upTo: 256) },
            stopReason: reader.stopReason.map { $0.word.storable(upTo: 64) })
        switch cause {
        case .ended:
            if reader.isComplete {
                break
            } else if let error = reader.error {
                ending.fail(.failed, "\(error.type): \(error.message)")
            } else {
                ending.fail(
                    .failed, httpStatus.map { $0 >= 300 } == true ? "HTTP \(httpStatus ?? 0)" : "the answer ended before its end")
            }
        case .clientLeft: if !reader.isComplete { ending.fail(.clientLeft, nil) }
        case .drained: ending.fail(.clientLeft, nil)
        case .cut(let reason), .stopped(let reason): ending.fail(.cut, reason)
        case .upstreamFailed(let error): if !reader.isComplete { ending.fail(.failed, error.message) }
        case .blocked(let error): ending.fail(.cut, error.message)
        case .withheld(let error): ending.fail(.failed, error.message)
        }
        self.ending = ending
        (state, usage) = Self.booking(cause, httpStatus, reader, requestBytes)
    }

    private static func booking(
        _ cause: EndCause, _ httpStatus: Int?, _ reader: AnswerReader, _ requestBytes: Int
    ) -> (Settlement.State, Usage) {
        guard let httpStatus else {
            // No head: a provider that could not be reached or did not answer bills nothing; one that was left may have begun.
            if case .upstreamFailed = cause { return (.estimated, Usage()) }
            return (.estimated, reader.estimatedUsage(requestBytes: requestBytes))
        }
        // Providers do not bill for answers that are errors.
        if httpStatus >= 300 { return (.final, Usage()) }
        if reader.usageIsFinal, let usage = reader.usage {
            if case .drained = cause { return (.drained, usage) }
            return (.final, usage)
        }
        return (.estimated, reader.estimatedUsage(requestBytes: requestBytes))
    }
}

extension Settlement.Ending {
    fileprivate mutating func fail(_ status: Settlement.Status, _ error: String?) {
        self.status = status
        self.error = error?.storable(upTo: 2000)
    }
}

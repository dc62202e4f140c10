import Core
import Foundation
import NIOConcurrencyHelpers

/// The calls with a key that are under way in this process: a repeat that meets one gets its answer as it comes.
final class KeyedCalls: Sendable {
    enum Place: Sendable {
        /// Nobody here has the key; this one has it now.
        case first(SharedAnswer)
        case running(SharedAnswer)
    }

    private let calls = NIOLockedValueBox<[IdempotencyKey: SharedAnswer]>([:])

    var isEmpty: Bool { calls.withLockedValue { $0.isEmpty } }

    /// - Throws: `conflict` when the key is another request's.
    func enter(_ claim: KeyClaim, _ id: InterceptionID) throws(AppError) -> Place {
        let (answer, isFirst) = calls.withLockedValue { calls in
            if let known = calls[claim.key] { return (known, false) }
            let answer = SharedAnswer(first: id, requestHash: claim.requestHash)
            calls[claim.key] = answer
            return (answer, true)
        }
        guard answer.requestHash == claim.requestHash else { throw KeyRule.otherRequest }
        return isFirst ? .first(answer) : .running(answer)
    }

    /// The key is nobody's here any more. From now on the record says what it stands for.
    func leave(_ key: IdempotencyKey, _ answer: SharedAnswer) {
        calls.withLockedValue { calls in
            if calls[key] === answer { calls[key] = nil }
        }
    }
}

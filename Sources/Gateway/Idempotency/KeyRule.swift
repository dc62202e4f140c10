import Core

/// What a repeat gets, by how the first call ended. A pure rule.
///
/// What cost nothing is made again. What was paid and is whole is replayed. What was paid and is not whole is refused: only its caller
/// can say, with a new key, that it is to be paid for again.
enum KeyRule: Sendable, Equatable {
    /// The first call as its record has it.
    struct First: Sendable, Equatable {
        var id: InterceptionID
        var status: String
        /// Nil: it is under way.
        var cost: NanoDollars?
        var contentMode: ContentMode
    }

    case wait
    /// The key is free for a new attempt.
    case again
    case replay
    case refuse(String)

    /// - Parameter first: nil when retention removed it.
    init(_ first: First?) {
        guard let first else {
            self = .refuse(Self.gone)
            return
        }
        guard let cost = first.cost else {
            self = .wait
            return
        }
        if first.status != Settlement.Status.completed.rawValue {
            self = cost == .zero ? .again : .refuse(Self.broken(first))
        } else {
            self = first.contentMode == .full ? .replay : .refuse(Self.notKept(first))
        }
    }

    private static let gone =
        "The call with this Idempotency-Key is not on record any more. Send the request with a new key to pay for another."

    private static func broken(_ first: First) -> String {
        let end =
            switch first.status {
            case "unknown": "the server that made it died with it open"
            case "cut": "it was cut off"
            case "client_left": "its client left"
            default: "it broke off"
            }
        return """
            The call with this Idempotency-Key (\(first.id)) has no whole answer: \(end), and \(cost(first)) was booked for it. It is not \
            paid again under this key; send the request with a new one.
            """
    }

    private static func notKept(_ first: First) -> String {
        """
        The call with this Idempotency-Key (\(first.id)) was answered, and \(cost(first)) was booked for it, but its answer is not kept \
        (content mode \(first.contentMode.rawValue)) and cannot be given again. Send the request with a new key to pay for another.
        """
    }

    static func removed(_ first: InterceptionID) -> AppError {
        AppError(
            .conflict,
            "The answer of the call with this Idempotency-Key (\(first)) is not on record any more. Send the request with a new key to pay for another.",
            field: "Idempotency-Key")
    }

    static let otherRequest = AppError(
        .conflict,
        "This Idempotency-Key was used for another request (other provider, path or body) in the last \(IdempotencyKey.hours) hours. Every request needs a key of its own.",
        field: "Idempotency-Key")

    private static func cost(_ first: First) -> String { "\(first.cost ?? .zero)" }
}

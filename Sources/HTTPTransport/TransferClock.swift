import Core

/// When a transfer has taken too long: a rule over instants that are given to it.
struct TransferClock {
    typealias Instant = ContinuousClock.Instant

    enum Expiry: Equatable { case firstByte, idle, total }

    private let timeouts: HTTPClientRequest.Timeouts
    private var total: Instant?
    private var next: Instant?
    private var hasHead = false

    init(timeouts: HTTPClientRequest.Timeouts) { self.timeouts = timeouts }

    mutating func start(at now: Instant) {
        total = timeouts.total.map { now + $0 }
        next = now + timeouts.firstByte
    }

    /// The head or a piece of the body has come.
    mutating func progress(at now: Instant) {
        hasHead = true
        next = now + timeouts.idle
    }

    /// A piece of the request has left. An answer may come before its end.
    mutating func sent(at now: Instant) { if !hasHead { next = now + timeouts.firstByte } }

    /// The reader is slow: waiting for it is not the other side's fault.
    mutating func pause() { next = nil }

    mutating func resume(at now: Instant) { next = now + (hasHead ? timeouts.idle : timeouts.firstByte) }

    var deadline: Instant? {
        switch (next, total) {
        case (let next?, let total?): min(next, total)
        case (let next, let total): next ?? total
        }
    }

    func expiry(at now: Instant) -> Expiry? {
        if let total, now >= total { return .total }
        if let next, now >= next { return hasHead ? .idle : .firstByte }
        return nil
    }
}

extension HTTPClientRequest.Timeouts {
    func error(_ expiry: TransferClock.Expiry, target: RequestTarget) -> AppError {
        switch expiry {
        case .firstByte: TransferFailure.timeout("\(target.name) did not begin to answer within \(firstByte)")
        case .idle: TransferFailure.timeout("\(target.name) stopped in the middle of its answer: nothing came for \(idle)")
        case .total: TransferFailure.timeout("the call to \(target.name) took longer than \(total ?? .zero)")
        }
    }
}

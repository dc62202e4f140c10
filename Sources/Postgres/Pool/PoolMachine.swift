/// The pool's rules as a value: who gets which connection, when to open one, whom to refuse. Connections and waiters are numbers.
struct PoolMachine {
    enum Event: Equatable {
        case wanted(by: Int)
        /// The waiter's time is up, or its task was cancelled.
        case gaveUp(Int)
        case connected(Int)
        case connectFailed
        case retryDue
        case returned(Int)
        /// A connection broke, idle or lent.
        case lost(Int)
        case close
    }

    enum Action: Equatable {
        case lend(Int, to: Int)
        /// The waiter still waited and gets an error.
        case refuse(Int)
        case open
        case retry(after: Duration)
        case discard(Int)
        case closed
    }

    let limit: Int
    /// Last returned, first lent: its caches are warm, and the others can be told from busy ones.
    private(set) var idle: [Int] = []
    private(set) var lent: Set<Int> = []
    private(set) var opening = 0
    private var waiting: [Int] = []
    private var failures = 0
    private var isRetryPlanned = false
    private(set) var isClosing = false
    private var isClosed = false

    init(limit: Int) { self.limit = limit }

    var waitingCount: Int { waiting.count }
    private var total: Int { idle.count + lent.count + opening }

    mutating func handle(_ event: Event) -> [Action] {
        switch event {
        case .wanted(let waiter):
            if isClosing { return [.refuse(waiter)] }
            if let connection = idle.popLast() { return lend(connection, to: waiter) }
            waiting.append(waiter)
            return grow()
        case .gaveUp(let waiter):
            guard let index = waiting.firstIndex(of: waiter) else { return [] }
            waiting.remove(at: index)
            return [.refuse(waiter)]
        case .connected(let connection):
            opening -= 1
            failures = 0
            return settle(connection) + grow()
        case .connectFailed:
            opening -= 1
            failures += 1
            if isClosing { return finishClosing() }
            if waiting.isEmpty || isRetryPlanned { return [] }
            isRetryPlanned = true
            return [.retry(after: Self.backOff(afterFailures: failures))]
        case .retryDue:
            isRetryPlanned = false
            return grow()
        case .returned(let connection):
            guard lent.remove(connection) != nil else { return [] }
            return settle(connection)
        case .lost(let connection):
            idle.removeAll { $0 == connection }
            lent.remove(connection)
            return isClosing ? finishClosing() : grow()
        case .close:
            if isClosing { return [] }
            isClosing = true
            let refused = waiting.map(Action.refuse)
            let discarded = idle.map(Action.discard)
            waiting = []
            idle = []
            return refused + discarded + finishClosing()
        }
    }

    /// 50 ms, doubled with each failure, at most 2 s.
    static func backOff(afterFailures failures: Int) -> Duration {
        .milliseconds(min(2000, 50 << min(max(0, failures - 1), 6)))
    }

    private mutating func lend(_ connection: Int, to waiter: Int) -> [Action] {
        lent.insert(connection)
        return [.lend(connection, to: waiter)]
    }

    /// A connection is free.
    private mutating func settle(_ connection: Int) -> [Action] {
        if isClosing { return [.discard(connection)] + finishClosing() }
        if !waiting.isEmpty { return lend(connection, to: waiting.removeFirst()) }
        idle.append(connection)
        return []
    }

    /// One connection for each waiter within the limit; one at a time while the database does not answer.
    private mutating func grow() -> [Action] {
        var actions: [Action] = []
        while !isClosing, !isRetryPlanned, opening < (failures == 0 ? waiting.count : min(1, waiting.count)), total < limit {
            opening += 1
            actions.append(.open)
        }
        return actions
    }

    private mutating func finishClosing() -> [Action] {
        guard isClosing, !isClosed, lent.isEmpty, opening == 0 else { return [] }
        isClosed = true
        return [.closed]
    }
}

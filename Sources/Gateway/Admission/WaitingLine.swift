/// Who waits for a place that is taken, and whose turn it is: first those that somebody waits for, then background calls, each in the
/// order in which they came. A pure value: whoever is told to try says what became of it.
struct WaitingLine: Sendable {
    struct Waiter: Sendable, Equatable {
        var id: UInt64
        var turn: CallClass
        var deadline: ContinuousClock.Instant
    }

    /// More are not taken.
    let longest: Int
    private var interactive: [Waiter] = []
    private var background: [Waiter] = []
    /// Who was told to try and has not said yet what became of it.
    private(set) var trying: UInt64?
    /// Something came free meanwhile.
    private var isWoken = false

    init(longest: Int) { self.longest = longest }

    var count: Int { interactive.count + background.count }
    func contains(_ id: UInt64) -> Bool { (interactive + background).contains { $0.id == id } }
    var isEmpty: Bool { interactive.isEmpty && background.isEmpty }

    /// - Returns: false when the line is full. A background call makes room for one that somebody waits for: it is in `pushedOut`.
    mutating func join(_ waiter: Waiter) -> (isIn: Bool, pushedOut: UInt64?) {
        var pushedOut: UInt64?
        if count >= longest {
            guard waiter.turn == .interactive, let last = background.last, last.id != trying else { return (false, nil) }
            background.removeLast()
            pushedOut = last.id
        }
        if waiter.turn == .interactive { interactive.append(waiter) } else { background.append(waiter) }
        return (true, pushedOut)
    }

    /// A place may have come free.
    /// - Returns: who is to try; nil when there is nobody, or somebody is at it.
    mutating func wake() -> UInt64? {
        if trying != nil {
            isWoken = true
            return nil
        }
        trying = interactive.first?.id ?? background.first?.id
        return trying
    }

    /// Who was told to try got a place, and leaves; the next one tries.
    mutating func passed(_ id: UInt64) -> UInt64? {
        leave(id)
        isWoken = false
        return wake()
    }

    /// Who was told to try got none, and stays where it was.
    /// - Returns: who is to try at once, since something came free meanwhile.
    mutating func failed(_ id: UInt64) -> UInt64? {
        guard trying == id else { return nil }
        trying = nil
        guard isWoken else { return nil }
        isWoken = false
        return wake()
    }

    mutating func leave(_ id: UInt64) {
        interactive.removeAll { $0.id == id }
        background.removeAll { $0.id == id }
        if trying == id { trying = nil }
    }

    /// Takes out those whose time is up, but for one that is trying.
    mutating func expire(_ now: ContinuousClock.Instant) -> [UInt64] {
        let late = (interactive + background).filter { $0.deadline <= now && $0.id != trying }.map(\.id)
        for id in late { leave(id) }
        return late
    }
}

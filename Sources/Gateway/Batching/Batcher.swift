import Core
import NIOConcurrencyHelpers

/// Turns single submissions into batches: while one batch is being performed, the next one gathers. One batch at a time.
final class Batcher<Item: Sendable, Output: Sendable>: Sendable {
    fileprivate struct Entry {
        var item: Item
        /// Zero: nobody waits for it.
        var waiter: UInt64
    }

    fileprivate struct Waiter {
        var continuation: CheckedContinuation<Output, any Error>
        var deadline: ContinuousClock.Instant?
    }

    fileprivate struct State {
        var queue: [Entry] = []
        var performing = 0
        var isRunning = false
        var waiters: [UInt64: Waiter] = [:]
        var lastWaiter: UInt64 = 0
        var idlers: [CheckedContinuation<Void, Never>] = []
        /// Somebody waits for what is queued.
        var isUrgent = false
        /// The worker, while it lets more gather; which of its pauses it is.
        var gathering: CheckedContinuation<Void, Never>?
        var pauses: UInt64 = 0
    }

    private let largest: Int
    private let linger: Duration
    private let perform: @Sendable ([Item]) async -> [Result<Output, any Error>]
    private let state = NIOLockedValueBox(State())

    /// - Parameters:
    ///   - linger: how long more may gather before a batch that nobody waits for is performed.
    ///   - perform: answers for each item, in order.
    init(
        largest: Int = 500, linger: Duration = .zero, perform: @escaping @Sendable ([Item]) async -> [Result<Output, any Error>]
    ) {
        self.largest = largest
        self.linger = linger
        self.perform = perform
    }

    /// How many items are queued or being performed.
    var count: Int { state.withLockedValue { $0.queue.count + $0.performing } }

    /// Returns when the item's batch was performed. What was submitted is performed even when the caller is cancelled.
    func submit(_ item: Item, within limit: Duration? = nil) async throws -> Output {
        try await withCheckedThrowingContinuation { continuation in
            let starts = state.withLockedValue { state in
                state.lastWaiter += 1
                state.waiters[state.lastWaiter] = Waiter(continuation: continuation, deadline: limit.map { .now + $0 })
                state.isUrgent = true
                return state.add(Entry(item: item, waiter: state.lastWaiter))
            }
            if starts { start() } else { hurry() }
        }
    }

    /// Nobody waits for it here.
    ///
    /// - Parameter isUrgent: whether it is performed without lingering.
    func post(_ items: [Item], isUrgent: Bool = false) {
        if items.isEmpty { return }
        let (starts, isFull) = state.withLockedValue { state in
            var starts = false
            for item in items { starts = state.add(Entry(item: item, waiter: 0)) || starts }
            if isUrgent { state.isUrgent = true }
            return (starts, state.queue.count >= largest)
        }
        if starts { start() } else if isUrgent || isFull { hurry() }
    }

    /// Returns when nothing is left to do.
    func idle() async {
        state.withLockedValue { $0.isUrgent = $0.isRunning }
        hurry()
        await withCheckedContinuation { continuation in
            let isIdle = state.withLockedValue { state in
                if state.isRunning { state.idlers.append(continuation) }
                return !state.isRunning
            }
            if isIdle { continuation.resume() }
        }
    }

    /// Waiters whose time is up get the error; their items are performed all the same.
    func expire(_ error: @autoclosure () -> any Error) {
        let now = ContinuousClock.now
        let late = state.withLockedValue { state -> [Waiter] in
            let late = state.waiters.filter { ($0.value.deadline ?? now) < now }
            for key in late.keys { state.waiters[key] = nil }
            return Array(late.values)
        }
        for waiter in late { waiter.continuation.resume(throwing: error()) }
    }

    private func start() {
        // Awaited by `idle`; it ends when the queue is empty.
        Task {
            while true {
                await gather()
                guard let batch = takeBatch() else { return }
                let results = await perform(batch.map(\.item))
                finish(batch, results)
            }
        }
    }

    /// Returns when the next batch is to be performed.
    private func gather() async {
        if linger == .zero { return }
        await withCheckedContinuation { continuation in
            let pause = state.withLockedValue { state -> UInt64? in
                if state.isUrgent || state.queue.isEmpty || state.queue.count >= largest { return nil }
                state.gathering = continuation
                state.pauses += 1
                return state.pauses
            }
            guard let pause else { return continuation.resume() }
            // Awaited by the worker through the continuation. It ends by itself; of a pause that was cut short nothing is left to end.
            Task {
                try? await Task.sleep(for: linger)
                hurry(pause)
            }
        }
    }

    /// - Parameter pause: nil: whichever it is.
    private func hurry(_ pause: UInt64? = nil) {
        if linger == .zero { return }
        let gathering = state.withLockedValue { state -> CheckedContinuation<Void, Never>? in
            if let pause, pause != state.pauses { return nil }
            defer { state.gathering = nil }
            return state.gathering
        }
        gathering?.resume()
    }

    private func takeBatch() -> [Entry]? {
        let (batch, idlers) = state.withLockedValue { state -> ([Entry]?, [CheckedContinuation<Void, Never>]) in
            guard !state.queue.isEmpty else {
                state.isRunning = false
                state.isUrgent = false
                defer { state.idlers = [] }
                return (nil, state.idlers)
            }
            let batch: [Entry]
            if state.queue.count <= largest {
                batch = state.queue
                state.queue = []
                state.isUrgent = false
            } else {
                batch = Array(state.queue.prefix(largest))
                state.queue.removeFirst(largest)
            }
            state.performing = batch.count
            return (batch, [])
        }
        for idler in idlers { idler.resume() }
        return batch
    }

    private func finish(_ batch: [Entry], _ results: [Result<Output, any Error>]) {
        precondition(results.count == batch.count, "a batch of \(batch.count) got \(results.count) results")
        let waiters = state.withLockedValue { state in
            state.performing = 0
            return batch.map { $0.waiter == 0 ? nil : state.waiters.removeValue(forKey: $0.waiter) }
        }
        for (waiter, result) in zip(waiters, results) { waiter?.continuation.resume(with: result) }
    }
}

extension Batcher.State {
    /// Whether a worker has to be started.
    fileprivate mutating func add(_ entry: Batcher.Entry) -> Bool {
        queue.append(entry)
        if isRunning { return false }
        isRunning = true
        return true
    }
}

/// Bounds the time of something that may not react to cancellation: at the deadline it is cancelled and left behind.
package enum Deadline {
    /// Whether the body ended in time.
    package static func within(_ bound: Duration, _ body: @escaping @Sendable () async -> Void) async -> Bool {
        let (ends, end) = AsyncStream<Bool>.makeStream(bufferingPolicy: .bufferingOldest(1))
        // Nobody awaits these beyond the deadline: that is what they are for.
        let work = Task {
            await body()
            end.yield(true)
        }
        let timer = Task {
            try? await Task.sleep(for: bound)
            end.yield(false)
        }
        var iterator = ends.makeAsyncIterator()
        let isDone = await iterator.next() ?? false
        timer.cancel()
        if !isDone { work.cancel() }
        return isDone
    }
}

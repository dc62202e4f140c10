import Core

/// Tells whoever made a call what was booked for it. A call that was refused is never booked.
package struct Booking: Sendable {
    private let costs: AsyncStream<NanoDollars>
    private let tell: AsyncStream<NanoDollars>.Continuation

    package init() { (costs, tell) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1)) }

    /// The cost in the ledger's row; nil when nothing was heard in time: another process may have booked it. For one who waits.
    package func cost(within patience: Duration) async -> NanoDollars? {
        let timer = Task {
            try? await Task.sleep(for: patience)
            tell.finish()
        }
        defer { timer.cancel() }
        for await cost in costs { return cost }
        return nil
    }

    /// Nil: it was booked already, so the ledger has to be read.
    func booked(_ cost: NanoDollars?) {
        if let cost { tell.yield(cost) }
        tell.finish()
    }
}

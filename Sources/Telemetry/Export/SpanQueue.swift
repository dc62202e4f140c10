import Core
import NIOConcurrencyHelpers

/// Ended spans that wait for their export. Bounded: what does not fit is dropped and counted, never waited for.
package final class SpanQueue: Sendable {
    /// About 10 MiB at the most.
    package static let usualCapacity = 8192

    private struct State {
        var spans: [Span] = []
        var first = 0
        var count: Int { spans.count - first }
    }

    private let capacity: Int
    private let wakeAt: Int
    private let state = NIOLockedValueBox(State())
    private let counts: Counter
    let wake: AsyncStream<Void>
    private let waker: AsyncStream<Void>.Continuation

    /// - Parameter batch: so many spans that wait wake the exporter before its time.
    package init(capacity: Int = usualCapacity, batch: Int = 512, metrics: Metrics) {
        self.capacity = capacity
        wakeAt = min(batch, capacity)
        (wake, waker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        counts = metrics.counter(
            "slipway_telemetry_spans_total", "Spans that were exported, refused by the collector, or dropped.", labels: ["result"])
        metrics.observe("slipway_telemetry_queue", "Spans that wait for their export.") { [state] in
            Double(state.withLockedValue { $0.count })
        }
    }

    var count: Int { state.withLockedValue { $0.count } }

    func offer(_ span: Span) {
        let (isTaken, isBatch) = state.withLockedValue { state in
            guard state.count < capacity else { return (false, false) }
            state.spans.append(span)
            return (true, state.count == wakeAt)
        }
        if !isTaken { ended(1, .dropped) }
        if isBatch { nudge() }
    }

    /// The oldest ones.
    func take(_ most: Int) -> [Span] {
        state.withLockedValue { state in
            let end = min(state.spans.count, state.first + most)
            let taken = Array(state.spans[state.first..<end])
            state.first = end
            if state.first == state.spans.count {
                state.spans.removeAll(keepingCapacity: state.spans.capacity <= 1024)
                state.first = 0
            } else if state.first >= 2048 {
                state.spans.removeFirst(state.first)
                state.first = 0
            }
            return taken
        }
    }

    func nudge() { waker.yield() }
    func finish() { waker.finish() }

    enum Result: String { case exported, rejected, dropped }

    func ended(_ count: Int, _ result: Result) { if count > 0 { counts.add(Double(count), [result.rawValue]) } }
}

import Core

/// Begins and ends spans. Costs memory alone: whoever ends a span never waits for a collector.
package final class Tracer: Sendable {
    private let sampler: Sampler
    private let queue: SpanQueue
    /// Whether spans name who called: off unless an operator asks for it.
    package let namesUsers: Bool

    package init(_ queue: SpanQueue, sampling: Sampler = Sampler(ratio: 1), namesUsers: Bool = false) {
        self.queue = queue
        sampler = sampling
        self.namesUsers = namesUsers
    }

    /// - Parameters:
    ///   - parent: the caller's span, which also says whether the trace is recorded; nil: a trace begins here.
    package func begin(_ name: String, _ kind: Span.Kind = .internal, in parent: TraceContext?) -> Span {
        if let parent { return Span(parent.child(), parent: parent.span, name: name, kind: kind) }
        var (high, low) = (UInt64.random(in: 0 ... .max), UInt64.random(in: 0 ... .max))
        if high | low == 0 { (high, low) = (1, 1) }
        return begin(name, kind, high: high, low: low)
    }

    /// In a trace whose id is that of something else, e.g. of a task, so that all who work on it know it.
    package func begin(_ name: String, _ kind: Span.Kind = .internal, high: UInt64, low: UInt64) -> Span {
        let context = TraceContext(
            high: high, low: low, span: .random(in: 1 ... .max), isSampled: sampler.takes(low: low))
        return Span(context, parent: nil, name: name, kind: kind)
    }

    /// Gives a span to the export, if its trace is recorded.
    package func end(_ span: Span) {
        guard span.context.isSampled else { return }
        var span = span
        span.end()
        queue.offer(span)
    }
}

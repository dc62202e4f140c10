/// Which traces are recorded. A pure rule over the trace's id, so that all servers decide the same about one trace.
package struct Sampler: Sendable, Equatable {
    /// 0 to 1.
    package let ratio: Double
    private let bound: UInt64

    package init(ratio: Double) {
        self.ratio = min(1, max(0, ratio))
        bound = UInt64(self.ratio * Double(1 << 56 as UInt64))
    }

    /// For a trace that begins here; who comes with a trace has decided already. The low 56 bits are random in every version of ids.
    package func takes(low: UInt64) -> Bool { low & ((1 << 56) - 1) < bound }
}

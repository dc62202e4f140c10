import Core

extension CallRecord.State {
    /// To be called when something of a stream was read: keeps the moment in which it first had content.
    mutating func noteContent(since began: ContinuousClock.Instant) {
        guard firstToken == nil, (translator?.reader.generatedBytes ?? own.generatedBytes) > 0 else { return }
        firstToken = began.duration(to: .now)
    }
}

extension Duration {
    /// Whole ones.
    var milliseconds: Int64 { Int64(self / .milliseconds(1)) }
}

/// What becomes of a batch. A pure rule: no I/O, no clock.
struct ExportRule: Sendable, Equatable {
    enum Verdict: Sendable, Equatable {
        case accepted
        /// The collector will never take it.
        case refused
        case again(after: Duration)
    }

    /// Attempts at one batch; with the pauses between them about five minutes.
    static let mostAttempts = 10

    /// The first pause; it doubles up to 60 times as much.
    var pause = Duration.seconds(1)

    /// - Parameters:
    ///   - status: of the collector's answer; nil: there was none.
    ///   - retryAfter: seconds, as its header says.
    ///   - attempts: how many were made, 1 or more.
    func verdict(status: Int?, retryAfter: Int?, attempts: Int) -> Verdict {
        if let status, (200..<300).contains(status) { return .accepted }
        // The statuses that OTLP/HTTP names as worth another attempt; all others are the client's fault.
        if let status, ![429, 502, 503, 504].contains(status) { return .refused }
        if attempts >= Self.mostAttempts { return .refused }
        if let retryAfter, retryAfter > 0 { return .again(after: .seconds(min(retryAfter, 300))) }
        return .again(after: pause * min(60, 1 << (attempts - 1)))
    }
}

/// Whose turn it is on a connection that serves model calls and everything else, one request after the other.
///
/// HTTP/1.1 answers in the order of the requests, so a call waits for what the router has not answered yet, and everything waits
/// for a call that is being answered. Requests of the router among themselves are the router's business.
struct ConnectionTurns: Equatable {
    enum Part { case callHead, otherHead, body, end }

    enum Fate: Equatable {
        case router, call
        /// It comes too early: keep it, and all that follow, until a turn ends.
        case later
    }

    private enum Way { case router, call }

    /// Whose request is arriving.
    private var reading: Way?
    /// Requests that the router has and has not answered.
    private var routerOwes = 0
    private(set) var isAnsweringCall = false

    mutating func take(_ part: Part) -> Fate {
        switch (part, reading) {
        case (.callHead, _):
            guard !isAnsweringCall, routerOwes == 0 else { return .later }
            reading = .call
            return .call
        case (.otherHead, _):
            guard !isAnsweringCall else { return .later }
            reading = .router
            routerOwes += 1
            return .router
        case (.body, .call): return .call
        case (.end, .call):
            reading = nil
            isAnsweringCall = true
            return .call
        case (.end, .router):
            reading = nil
            return .router
        case (.body, .router), (.body, nil), (.end, nil): return .router
        }
    }

    /// The call that is arriving is answered already, before its end: what still comes of it is nobody's.
    mutating func refusedEarly() { isAnsweringCall = true }

    mutating func routerAnswered() { routerOwes = max(0, routerOwes - 1) }
    mutating func callAnswered() { isAnsweringCall = false }
}

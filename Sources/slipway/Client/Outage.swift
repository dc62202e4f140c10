import Core

/// Keeps a command that follows something alive while the server is away: restarted, or without its database. Whoever never had an
/// answer is told at once.
struct Outage {
    private static let patience = Duration.seconds(600)

    private let client: APIClient
    private var hadAnswer = false
    private var began: ContinuousClock.Instant?

    init(of client: APIClient) { self.client = client }

    /// Asks until there is an answer, or a no that waiting does not change.
    ///
    /// - Parameter place: words for what comes next once it is back.
    mutating func bridging<Answer>(_ place: String, _ ask: () async throws -> Answer) async throws -> Answer {
        while true {
            do {
                let answer = try await ask()
                hadAnswer = true
                if began != nil { say("The server is back.") }
                began = nil
                return answer
            } catch {
                guard hadAnswer, let reason = Self.passing(error) else { throw error }
                let since = began ?? .now
                if began == nil {
                    say("\(client.url) does not answer (\(reason)). Waiting for it, to go on with \(place) …")
                    began = since
                }
                guard ContinuousClock.now - since < Self.patience else { throw error }
                try await Task.sleep(for: ContinuousClock.now - since < .seconds(5) ? .milliseconds(200) : .seconds(1))
            }
        }
    }

    private func say(_ text: String) {
        Terminal.clearProgress()
        Terminal.note(text)
    }

    /// Why there is no answer now, if there may be one later.
    private static func passing(_ error: any Error) -> String? {
        switch error {
        case let failure as Failure where failure.mayPass: failure.message
        case let error as AppError where error.source == .upstream || error.code == .unavailable: error.message
        default: nil
        }
    }
}

import Core

/// When a call that failed for now is tried again: doubling from two seconds to two minutes, never earlier than the provider asks.
package enum RetryRule {
    package static let attempts = 8
    private static let longest = Duration.seconds(120)
    /// A provider that asks for more than this is waited for no longer than this at a time.
    private static let longestAsked = Duration.seconds(900)

    /// Nil when it has been tried often enough. `failures` counts this one, from 1.
    package static func delay(failures: Int, asked: Duration?) -> Duration? {
        guard failures < attempts else { return nil }
        let doubled = Duration.seconds(1 << min(failures, 10))
        let own = min(doubled, longest)
        guard let asked else { return own }
        return max(own, min(asked, longestAsked))
    }
}

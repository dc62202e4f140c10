/// How many further attempts a provider's calls may make: a fifth of its calls, and ten at once. Without it, all calls to a provider that
/// is down would come twice.
struct RetryBudget: Sendable, Equatable {
    static let most = 100
    /// Calls that earn one attempt.
    static let calls = 5
    /// In parts of an attempt that one call earns.
    private var parts = 10 * Self.calls

    mutating func called() { parts = min(parts + 1, Self.most * Self.calls) }

    /// Takes one, if there is one.
    mutating func take() -> Bool {
        guard parts >= Self.calls else { return false }
        parts -= Self.calls
        return true
    }
}

extension Interception {
    /// Who decided about a call.
    public enum Decision: Sendable, Equatable {
        /// By this rule.
        case allowed(String)
        case refusedBy(String)
        /// A rule had let it pass (empty: none was asked); then something else refused it: a code, and what it means.
        case refused(String, allowedBy: String)
    }

    public var decision: Decision {
        guard status == "refused" else { return .allowed(policy) }
        let rule = policy.split(separator: " ").filter { $0 != Self.unpriced }.joined(separator: " ")
        let code = error ?? "unknown"
        if rule != policy { return .refused("\(code) (the model has no price)", allowedBy: rule) }
        if code == "policy_denied", !rule.isEmpty { return .refusedBy(rule) }
        return .refused(Self.meanings[code].map { "\(code) (\($0))" } ?? code, allowedBy: rule)
    }

    /// Refused, or answered with what another call was paid for.
    public var isUnpaid: Bool { ["refused", "replayed"].contains(status) }

    /// Stands beside the rule of a call that it let pass and that was refused because its model has no price.
    public static let unpriced = "price:none"

    private static let meanings = [
        "policy_denied": "a policy does not let it pass",
        "budget_exceeded": "too little is left of a budget",
        "rate_limited": "a limit was reached",
        "conflict": "its idempotency key is another call's",
        "unavailable": "nothing could take it: no enabled provider, no key, or too much to do",
        "not_found": "its provider does not serve it",
        "bad_request": "the request was wrong",
        "too_large": "the request was too large",
    ]
}

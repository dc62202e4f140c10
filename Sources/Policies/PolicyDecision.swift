import Core

/// What was decided, by which rule, and what else goes with it.
package struct PolicyDecision: Sendable, Equatable {
    package enum Effect: String, Sendable, CaseIterable {
        case allow, deny
        case requireApproval = "require_approval"
        /// Only of data classes.
        case redact
    }

    /// A rule that wants the call sent elsewhere.
    package struct Route: Sendable, Equatable {
        package var rule: String
        package var target: String
    }

    /// The rule that lets least of the content stay on record.
    package struct Kept: Sendable, Equatable {
        package var rule: String
        package var content: ContentMode

        /// Of several decisions about one call, the one that counts.
        package static func least(_ one: Kept?, _ other: Kept?) -> Kept? {
            other?.content ?? .full > one?.content ?? .full ? other : one
        }

        /// A record that names the rule, also where another decision is on it.
        package func marked(_ record: String) -> String {
            let mark = "keep:\(rule)"
            return record.split(separator: " ").contains { $0 == mark } ? record : "\(record) \(mark)"
        }
    }

    package var effect: Effect
    /// `<policy>/<rule>`, or `<policy>/default`.
    package var rule: String
    /// A sentence for who is refused; empty when nobody is.
    package var reason: String
    /// Rules that only mark, in their order.
    package var flags: [String] = []
    /// The first rule that routes.
    package var route: Route?
    package var kept: Kept?
    /// Of a redaction: what happens where it would break a signature.
    package var otherwise: PolicyEffect.Word?

    /// How a record names it: the rule that decided, then those that went with it, e.g. `models/everybody flag:watch/large`.
    package var record: String {
        if flags.isEmpty, route == nil, kept == nil { return rule }
        let marks = [route.map { "route:\($0.rule)" }, kept.map { "keep:\($0.rule)" }].compactMap(\.self)
        return ([rule] + marks + flags.map { "flag:\($0)" }).joined(separator: " ")
    }

    /// The same of a call that another rule has sent here, unless this one names a rule that would.
    package func record(sentBy sender: String?) -> String {
        guard let sender, route == nil else { return record }
        return "\(record) route:\(sender)"
    }

    /// The rule that decided, out of what a record has.
    package static func rule(ofRecord text: String) -> Substring { text.prefix { $0 != " " } }
}

/// Every rule that was asked, in order, and why it did not decide; the last one did.
package struct PolicyExplanation: Sendable, Equatable {
    package enum Outcome: String, Sendable {
        case passedOver = "passed_over"
        /// It applies, and only marks or routes.
        case noted
        case decided
    }

    package struct Step: Sendable, Equatable {
        package var rule: String
        package var outcome: Outcome
        /// Why.
        package var because: String
    }

    package var decision: PolicyDecision
    package var steps: [Step]
}

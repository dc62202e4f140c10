import Core
import Foundation
import Policies

/// Counts how calls would be decided by other policies than those in force. A pure value.
package struct Simulation: Sendable {
    package struct Change: Sendable, Hashable {
        package var user: String
        package var model: String
        package var effect: PolicyDecision.Effect
        package var rule: String
        package var newEffect: PolicyDecision.Effect
        package var newRule: String
    }

    package var range: Range<Date>
    package private(set) var calls = 0
    /// Decided otherwise: by effect, flag, route or what is kept.
    package private(set) var changed = 0
    package private(set) var newlyRefused = 0
    package private(set) var newlyAllowed = 0
    /// Decided alike, by another rule.
    package private(set) var otherRule = 0
    /// Whose record names the rule that decides now.
    package private(set) var asRecorded = 0
    package private(set) var changes: [Change: Int] = [:]

    init(_ range: Range<Date>) { self.range = range }

    /// - Parameters:
    ///   - recorded: the rule on record.
    ///   - now: by the policies in force.
    ///   - then: by those that are tried.
    mutating func add(_ facts: PolicyFacts, recorded: String, now: PolicyDecision, then: PolicyDecision) {
        calls += 1
        if PolicyDecision.rule(ofRecord: recorded) == now.rule { asRecorded += 1 }
        let isSame =
            now.effect == then.effect && now.flags == then.flags && now.route?.target == then.route?.target
            && now.kept?.content == then.kept?.content
        if isSame, now.rule == then.rule { return }
        if isSame { otherRule += 1 } else { changed += 1 }
        if now.effect == .allow, then.effect != .allow { newlyRefused += 1 }
        if now.effect != .allow, then.effect == .allow { newlyAllowed += 1 }
        let change = Change(
            user: facts.username, model: "\(facts.provider)/\(facts.model)", effect: now.effect, rule: now.record,
            newEffect: then.effect, newRule: then.record)
        changes[change, default: 0] += 1
    }

    /// Most calls first.
    package var sortedChanges: [(change: Change, calls: Int)] {
        changes.map { ($0.key, $0.value) }.sorted { a, b in
            a.1 != b.1 ? a.1 > b.1 : (a.0.user, a.0.model, a.0.newRule) < (b.0.user, b.0.model, b.0.newRule)
        }
    }
}

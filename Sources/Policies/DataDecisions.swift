/// What happens to data of each class in each place, for one caller and one target: decided once, before anything is looked for.
package struct DataDecisions: Sendable {
    package struct Action: Sendable, Equatable {
        package enum Kind: Int, Sendable, Comparable {
            case flag, redact, block

            package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
        }

        package var kind: Kind
        /// `<policy>/<rule>`.
        package var rule: String
        /// Told to who is refused.
        package var reason: String
        /// Where redacting would break a signature.
        package var otherwise = Kind.block
        /// Rules that only mark.
        package var flags: [String] = []
    }

    /// Of one place: what is looked for, and what then happens.
    package struct Watch: Sendable {
        package var detectors: [Detector] = []
        package var actions: [String: Action] = [:]

        package var isEmpty: Bool { actions.isEmpty }
    }

    private var watches: [DataPlace: Watch] = [:]

    /// Nil: nothing is to be looked for.
    package init?(_ set: PolicySet, _ facts: PolicyFacts) {
        if set.detectors.isEmpty { return nil }
        var facts = facts
        facts.question = .data
        for place in DataPlace.allCases {
            facts.place = place
            var watch = Watch()
            for name in Set(set.detectors.map(\.name)) {
                facts.dataClass = name
                watch.actions[name] = Action(set.decide(facts))
            }
            watch.detectors = set.detectors.filter { watch.actions[$0.name] != nil }
            if !watch.isEmpty { watches[place] = watch }
        }
        if watches.isEmpty { return nil }
    }

    /// Whether the same happens to everything.
    package func agrees(with other: DataDecisions) -> Bool {
        watches.mapValues(\.actions) == other.watches.mapValues(\.actions)
    }

    package subscript(_ place: DataPlace) -> Watch? { watches[place] }

    /// The stricter action of the two counts, for calls that may go to several targets.
    package mutating func merge(_ other: DataDecisions) {
        for (place, watch) in other.watches {
            guard var mine = watches[place] else {
                watches[place] = watch
                continue
            }
            for (name, action) in watch.actions {
                if let known = mine.actions[name], known.kind >= action.kind { continue }
                if mine.actions.updateValue(action, forKey: name) == nil {
                    mine.detectors += watch.detectors.filter { $0.name == name }
                }
            }
            watches[place] = mine
        }
    }
}

extension DataDecisions.Action {
    /// Nil: it passes, and nobody asks for a mark.
    fileprivate init?(_ decision: PolicyDecision) {
        if decision.effect == .allow {
            guard let first = decision.flags.first else { return nil }
            self.init(kind: .flag, rule: first, reason: "", flags: Array(decision.flags.dropFirst()))
        } else {
            self.init(
                kind: decision.effect == .redact ? .redact : .block, rule: decision.rule, reason: decision.reason,
                otherwise: decision.otherwise == .flag ? .flag : .block, flags: decision.flags)
        }
    }
}

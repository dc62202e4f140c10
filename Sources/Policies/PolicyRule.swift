import Core
import Foundation

/// Policies of an organization under one name: rules in their order, and what holds when none of them decides.
package struct PolicyObject: Sendable, Equatable {
    /// What holds when no rule of the object decides.
    package enum Default: String, Sendable, CaseIterable {
        case allow, deny
        /// The object after it is asked.
        case next
    }

    package static let usualOrder = 100

    package var name: String
    package var description: String?
    /// Objects are asked in ascending order, those of the same order by name.
    package var order = usualOrder
    /// For model calls.
    package var calls: Default
    package var tools = Default.next
    package var rules: [PolicyRule]
    /// Data classes of its own, `pattern.<name>`.
    package var patterns: [DataPattern] = []

    package init(name: String, order: Int = usualOrder, calls: Default, rules: [PolicyRule]) {
        self.name = name
        self.order = order
        self.calls = calls
        self.rules = rules
    }
}

/// A class of data that an admin defined by a pattern.
package struct DataPattern: Sendable, Equatable {
    package var name: String
    package var match: String

    package var dataClass: String { "pattern.\(name)" }
}

/// To whom, to what and when a rule applies, and what it does then. Everything that is given must hold; what is left out does not narrow.
package struct PolicyRule: Sendable, Equatable {
    /// People are named by users, groups and roles, of which one suffices; the rest narrows further.
    package struct Subjects: Sendable, Equatable {
        /// User names or ids.
        package var users = PatternList()
        package var groups = PatternList()
        package var roles: Set<Role> = []
        package var organizations = PatternList()
        package var tasks = PatternList()
        package var templates = PatternList()
        package var clients = PatternList()

        package init() {}
    }

    package struct Resources: Sendable, Equatable {
        package var providers = PatternList()
        /// `<provider>/<model>`.
        package var models = PatternList()
        package var protocols = PatternList()
        package var tools = PatternList()
        package var mcpServers = PatternList()
        package var dataClasses = PatternList()
        /// Empty: everywhere.
        package var places: Set<DataPlace> = []

        package init() {}
    }

    /// From `atLeast` on, and below `below`.
    package struct Bounds: Sendable, Equatable {
        package var atLeast: Int?
        package var below: Int?

        package init(atLeast: Int? = nil, below: Int? = nil) {
            self.atLeast = atLeast
            self.below = below
        }

        var isOpen: Bool { atLeast == nil && below == nil }
        func contains(_ number: Int) -> Bool { number >= atLeast ?? .min && (below.map { number < $0 } ?? true) }

        var words: String {
            [atLeast.map { "at least \($0)" }, below.map { "below \($0)" }].compactMap(\.self).joined(separator: " and ")
        }
    }

    package struct Conditions: Sendable, Equatable {
        /// One of them; empty: always.
        package var time: [TimeWindow] = []
        package var budgetPercent = Bounds()
        package var requestClass: RequestClass?
        package var bytes = Bounds()
        package var tokens = Bounds()
        /// For each pattern of a path, texts of which one has to be at such a place of a tool's arguments.
        package var arguments: [ArgumentCondition] = []

        package init() {}
    }

    package struct ArgumentCondition: Sendable, Equatable {
        package var path: Pattern
        package var texts: PatternList
    }

    package var id: String
    package var description: String?
    package var subjects = Subjects()
    package var resources = Resources()
    package var conditions = Conditions()
    package var effect: PolicyEffect
    /// Told to who is refused; nil: a sentence that names the rule's object.
    package var reason: String?
    /// What a rule that redacts does where that would break a signature: deny or flag.
    package var otherwise = PolicyEffect.Word.deny

    package init(id: String, effect: PolicyEffect) {
        self.id = id
        self.effect = effect
    }

    /// What it answers: that follows from the resources that it names.
    package var question: PolicyQuestion {
        if !resources.dataClasses.isEmpty { return .data }
        return resources.tools.isEmpty && resources.mcpServers.isEmpty ? .call : .tool
    }
}

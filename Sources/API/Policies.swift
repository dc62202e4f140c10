import Foundation

/// A policy as code: rules in their order under one name.
public struct Policy: Codable, Sendable, Equatable {
    public var name: String
    /// 0: built in.
    public var version: Int
    /// Policies are asked in ascending order; nil for a version that is not in force.
    public var order: Int?
    public var rules: Int?
    /// `allow`, `deny` or `next`.
    public var defaultEffect: String?
    public var description: String?
    /// `api`, `file`, `built_in`, or `model_policies`, which have an API of their own.
    public var origin: String
    /// YAML; nil in lists, and for a version that deleted the policy.
    public var source: String?
    public var isDeleted: Bool?
    /// Who made this version; nil: the server itself.
    public var actor: String?
    public var createdAt: Date?

    public init(
        name: String, version: Int, order: Int? = nil, rules: Int? = nil, defaultEffect: String? = nil, description: String? = nil,
        origin: String, source: String? = nil, isDeleted: Bool? = nil, actor: String? = nil, createdAt: Date? = nil
    ) {
        self.name = name
        self.version = version
        self.order = order
        self.rules = rules
        self.defaultEffect = defaultEffect
        self.description = description
        self.origin = origin
        self.source = source
        self.isDeleted = isDeleted
        self.actor = actor
        self.createdAt = createdAt
    }
}

/// `GET /api/v2/ai/policies` in the order in which they are asked; `GET /api/v2/ai/policies/{policy}/versions`, newest first.
public struct PolicyList: Codable, Sendable, Equatable {
    public var policies: [Policy]

    public init(policies: [Policy]) { self.policies = policies }
}

/// `PUT /api/v2/ai/policies/{policy}`.
public struct PutPolicyRequest: Codable, Sendable, Equatable {
    /// YAML, or JSON as text.
    public var source: String
    /// The version that was changed: another one in force is a conflict. 0: there must be none. Nil: whatever there is.
    public var baseVersion: Int?

    public init(source: String, baseVersion: Int? = nil) {
        self.source = source
        self.baseVersion = baseVersion
    }
}

/// What the policies say of one request.
public struct PolicyVerdict: Codable, Sendable, Equatable {
    /// `allow`, `deny`, `require_approval` or `redact`.
    public var effect: String
    /// `<policy>/<rule>`.
    public var rule: String
    /// What the caller is told; nil when nothing is refused.
    public var reason: String?
    public var flags: [String]
    /// The target that a rule routes to.
    public var route: String?
    /// How much of the call's content stays on record, where a rule says so: `hashed` or `none`.
    public var content: String?

    public init(
        effect: String, rule: String, reason: String? = nil, flags: [String] = [], route: String? = nil, content: String? = nil
    ) {
        self.effect = effect
        self.rule = rule
        self.reason = reason
        self.flags = flags
        self.route = route
        self.content = content
    }
}

/// `POST /api/v2/ai/policies/test`.
public struct TestPoliciesRequest: Codable, Sendable, Equatable {
    /// A YAML file of cases.
    public var cases: String
    /// YAML of policies that take the place of those of their names, or come along; nil: what is in force.
    public var policies: [String]?

    public init(cases: String, policies: [String]? = nil) {
        self.cases = cases
        self.policies = policies
    }
}

public struct PolicyTestReport: Codable, Sendable, Equatable {
    public struct Outcome: Codable, Sendable, Equatable {
        public var name: String
        public var verdict: PolicyVerdict
        /// What was not as expected; nil: it passed.
        public var problem: String?

        public init(name: String, verdict: PolicyVerdict, problem: String?) {
            self.name = name
            self.verdict = verdict
            self.problem = problem
        }
    }

    public var cases: [Outcome]
    public var failed: Int

    public init(cases: [Outcome]) {
        self.cases = cases
        failed = cases.count { $0.problem != nil }
    }
}

/// `POST /api/v2/ai/policies/explain`: either a recorded call or a request as cases have it.
public struct ExplainPoliciesRequest: Codable, Sendable, Equatable {
    public var interceptionID: String?
    /// YAML of one request.
    public var request: String?
    /// Of a recorded call: by the policies of now instead of those of its time.
    public var now: Bool?

    public init(interceptionID: String? = nil, request: String? = nil, now: Bool? = nil) {
        self.interceptionID = interceptionID
        self.request = request
        self.now = now
    }
}

public struct PolicyExplanation: Codable, Sendable, Equatable {
    public struct Step: Codable, Sendable, Equatable {
        public var rule: String
        /// `passed_over`, `noted` or `decided`.
        public var outcome: String
        public var because: String

        public init(rule: String, outcome: String, because: String) {
            self.rule = rule
            self.outcome = outcome
            self.because = because
        }
    }

    public var verdict: PolicyVerdict
    /// Every rule that was asked, in order; the last one decided.
    public var steps: [Step]
    /// Of a recorded call: what its record says decided.
    public var recorded: String?

    public init(verdict: PolicyVerdict, steps: [Step], recorded: String? = nil) {
        self.verdict = verdict
        self.steps = steps
        self.recorded = recorded
    }
}

/// `POST /api/v2/ai/policies/simulate`.
public struct SimulatePoliciesRequest: Codable, Sendable, Equatable {
    /// YAML of policies that would take the place of those of their names, or come along.
    public var policies: [String]
    /// Names of policies that would be deleted.
    public var without: [String]?
    /// Default: the last 24 hours. At most 31 days.
    public var startedAfter: Date?
    public var startedBefore: Date?

    public init(policies: [String], without: [String]? = nil, startedAfter: Date? = nil, startedBefore: Date? = nil) {
        self.policies = policies
        self.without = without
        self.startedAfter = startedAfter
        self.startedBefore = startedBefore
    }
}

/// How past calls would be decided by other policies than those in force.
public struct PolicySimulation: Codable, Sendable, Equatable {
    /// Calls of one user and model that one rule decides now and another one would.
    public struct Change: Codable, Sendable, Equatable {
        public var user: String
        /// `<provider>/<model>`.
        public var model: String
        public var effect: String
        public var rule: String
        public var newEffect: String
        public var newRule: String
        public var calls: Int

        public init(user: String, model: String, effect: String, rule: String, newEffect: String, newRule: String, calls: Int) {
            self.user = user
            self.model = model
            self.effect = effect
            self.rule = rule
            self.newEffect = newEffect
            self.newRule = newRule
            self.calls = calls
        }
    }

    public var startedAfter: Date
    public var startedBefore: Date
    /// How many calls were looked at.
    public var calls: Int
    /// Of them: decided otherwise, by effect, flag, route or what is kept.
    public var changed: Int
    /// Of the changed ones: allowed now, and would not be.
    public var newlyRefused: Int
    /// Of the changed ones: refused now, and would be allowed.
    public var newlyAllowed: Int
    /// Decided alike, by another rule.
    public var otherRule: Int
    /// Whose record names the rule that decides now: how well the past could be built again.
    public var asRecorded: Int
    /// The changed ones and those that another rule decides, most calls first; at most 1,000 lines.
    public var changes: [Change]
    public var moreChanges: Int

    public init(
        startedAfter: Date, startedBefore: Date, calls: Int, changed: Int, newlyRefused: Int, newlyAllowed: Int, otherRule: Int,
        asRecorded: Int, changes: [Change], moreChanges: Int
    ) {
        self.startedAfter = startedAfter
        self.startedBefore = startedBefore
        self.calls = calls
        self.changed = changed
        self.newlyRefused = newlyRefused
        self.newlyAllowed = newlyAllowed
        self.otherRule = otherRule
        self.asRecorded = asRecorded
        self.changes = changes
        self.moreChanges = moreChanges
    }
}

import API
import Core
import Foundation
import Gateway
import Hummingbird
import Policies

/// `/api/v2/ai/policies`: policies as code, and trying them.
struct PolicyRoutes: Sendable {
    let gateway: Gateway

    private var policies: PolicyService { gateway.policies }

    func register(on table: RouteTable) {
        let one = APIPaths.policies + "/{policy}"
        table.on(.get, APIPaths.policies, .readPolicies, list)
        table.on(.get, one, .readPolicies, get)
        table.on(.put, one, .changePolicies, put)
        table.on(.delete, one, .changePolicies, delete)
        table.on(.get, one + "/versions", .readPolicies, versions)
        table.on(.get, one + "/versions/{version}", .readPolicies, version)
        table.on(.post, APIPaths.policies + "/test", .readPolicies, test)
        table.on(.post, APIPaths.policies + "/explain", .readPolicies, explain)
        table.on(.post, APIPaths.policies + "/simulate", .readPolicies, simulate)
    }

    @Sendable func list(_ call: Call) async throws -> Response {
        let stored = Dictionary(uniqueKeysWithValues: try policies.stored(call.principal).map { ($0.name, $0) })
        return try .json(PolicyList(policies: try policies.list(call.principal).map { $0.shown(stored[$0.name]) }))
    }

    @Sendable func get(_ call: Call) async throws -> Response {
        try .json(try await policies.version(call.principal, name: try call.incoming.path("policy")).shown(withSource: true))
    }

    @Sendable func put(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(PutPolicyRequest.self)
        let version = try await policies.put(
            call.principal, name: try call.incoming.path("policy"), source: wanted.source, base: wanted.baseVersion)
        return try .json(version.shown(withSource: true))
    }

    @Sendable func delete(_ call: Call) async throws -> Response {
        try await policies.delete(call.principal, name: try call.incoming.path("policy"))
        return .noContent
    }

    @Sendable func versions(_ call: Call) async throws -> Response {
        let versions = try await policies.versions(call.principal, name: try call.incoming.path("policy"))
        return try .json(PolicyList(policies: versions.map { $0.shown(withSource: false) }))
    }

    @Sendable func version(_ call: Call) async throws -> Response {
        let text = try call.incoming.path("version")
        guard let number = Int(text) else { throw AppError(.badRequest, "'\(text.prefix(40))' is no number.", field: "version") }
        let name = try call.incoming.path("policy")
        return try .json(try await policies.version(call.principal, name: name, number).shown(withSource: true))
    }

    @Sendable func test(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(TestPoliciesRequest.self)
        let outcomes = try policies.test(call.principal, cases: wanted.cases, policies: wanted.policies)
        return try .json(
            PolicyTestReport(cases: outcomes.map { .init(name: $0.name, verdict: $0.decision.shown, problem: $0.problem) }))
    }

    @Sendable func explain(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(ExplainPoliciesRequest.self)
        switch (wanted.interceptionID, wanted.request) {
        case (let text?, nil):
            guard let id = InterceptionID(text) else {
                throw AppError(.badRequest, "'\(text.prefix(64))' is no id: a UUID is expected.", field: "interception_id")
            }
            let (explanation, recorded) = try await policies.explain(
                call.principal, id, byPoliciesOfNow: wanted.now ?? false)
            return try .json(explanation.shown(recorded: recorded))
        case (nil, let request?):
            return try .json(try policies.explain(call.principal, request: request).shown(recorded: nil))
        default:
            throw AppError(.badRequest, "Give either interception_id or request.", field: "request")
        }
    }

    @Sendable func simulate(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(SimulatePoliciesRequest.self)
        let end = wanted.startedBefore ?? Date()
        let start = wanted.startedAfter ?? end.addingTimeInterval(-86400)
        guard start < end else {
            throw AppError(.badRequest, "started_after must be before started_before.", field: "started_after")
        }
        let simulation = try await policies.simulate(
            call.principal, policies: wanted.policies, without: Set(wanted.without ?? []), start..<end)
        return try .json(simulation.shown)
    }
}

extension PolicyObject {
    fileprivate func shown(_ stored: StoredPolicy?) -> API.Policy {
        API.Policy(
            name: name, version: stored?.version ?? 0, order: order, rules: rules.count, defaultEffect: calls.rawValue,
            description: description,
            origin: stored?.origin.rawValue ?? (name == ModelPolicyService.objectName ? "model_policies" : "built_in"),
            createdAt: stored?.createdAt)
    }
}

extension PolicyVersion {
    fileprivate func shown(withSource: Bool) -> API.Policy {
        API.Policy(
            name: name, version: version, origin: version == 0 ? "built_in" : origin.rawValue, source: withSource ? source : nil,
            isDeleted: source == nil, actor: actor, createdAt: version == 0 ? nil : createdAt)
    }
}

extension PolicyDecision {
    fileprivate var shown: PolicyVerdict {
        PolicyVerdict(
            effect: effect.rawValue, rule: rule, reason: reason.isEmpty ? nil : reason, flags: flags, route: route?.target,
            content: kept?.content.rawValue)
    }
}

extension Policies.PolicyExplanation {
    fileprivate func shown(recorded: String?) -> API.PolicyExplanation {
        API.PolicyExplanation(
            verdict: decision.shown, steps: steps.map { .init(rule: $0.rule, outcome: $0.outcome.rawValue, because: $0.because) },
            recorded: recorded)
    }
}

extension Simulation {
    fileprivate static let mostLines = 1000

    fileprivate var shown: PolicySimulation {
        let lines = sortedChanges
        return PolicySimulation(
            startedAfter: range.lowerBound, startedBefore: range.upperBound, calls: calls, changed: changed,
            newlyRefused: newlyRefused, newlyAllowed: newlyAllowed, otherRule: otherRule, asRecorded: asRecorded,
            changes: lines.prefix(Self.mostLines).map { change, calls in
                .init(
                    user: change.user, model: change.model, effect: change.effect.rawValue, rule: change.rule,
                    newEffect: change.newEffect.rawValue, newRule: change.newRule, calls: calls)
            }, moreChanges: max(0, lines.count - Self.mostLines))
    }
}

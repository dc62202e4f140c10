import Core
import Foundation
import Policies
import TestSupport
import Testing

@testable import Gateway

/// What a policy would do, before it does.
@Suite struct PolicyTrialTests {
    @Test func `past calls are decided again by a candidate, counted by rule, user and model`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let max = try await Stage.makeUser(stage.pool, "max", roles: [.admin])
                for _ in 0..<3 { #expect(await gateway.call(stage.call(Stage.messages())).status == 200) }
                for _ in 0..<2 { #expect(await gateway.call(stage.call(Stage.messages(), as: max)).status == 200) }
                #expect(await gateway.call(stage.call(Stage.chat(), provider: "openai")).status == 200)
                let range = Date(timeIntervalSinceNow: -3600)..<Date(timeIntervalSinceNow: 60)
                let candidate = """
                    name: members
                    default: next
                    rules:
                      - {id: admins, effect: allow, subjects: {roles: [admin]}}
                      - {id: no-anthropic, effect: deny, resources: {providers: [anthropic]}}
                    """
                let result = try await gateway.policies.simulate(stage.user, policies: [candidate], without: [], range)
                #expect(result.calls == 6 && result.changed == 3 && result.newlyRefused == 3 && result.newlyAllowed == 0)
                #expect(result.otherRule == 2 && result.asRecorded == 6)
                let lines = result.sortedChanges
                #expect(lines.map(\.calls) == [3, 2])
                #expect(
                    lines[0].change
                        == .init(
                            user: "ada", model: "anthropic/test-model", effect: .allow, rule: "default/default", newEffect: .deny,
                            newRule: "members/no-anthropic"))
                #expect(lines[1].change.user == "max" && lines[1].change.newRule == "members/admins")
                // Nothing of it is in force.
                #expect(await gateway.call(stage.call(Stage.messages())).status == 200)
                // Once it is, being without it is what changes.
                try await stage.put(gateway, candidate)
                let back = try await gateway.policies.simulate(stage.user, policies: [], without: ["members"], range)
                #expect(back.newlyAllowed == 4 && back.newlyRefused == 0 && back.asRecorded == 1)
                await #expect(throws: AppError.self) {
                    try await gateway.policies.simulate(stage.user, policies: [], without: ["nobody"], range)
                }
                await #expect(throws: AppError.self) {
                    try await gateway.policies.simulate(
                        stage.user, policies: [candidate], without: [],
                        Date(timeIntervalSinceNow: -32 * 86400)..<Date(timeIntervalSinceNow: 0))
                }
            }
        }
    }

    @Test func `a recorded call is explained by the policies of its time, or of now`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let call = stage.call(Stage.messages())
                #expect(await gateway.call(call).status == 200)
                try await stage.put(gateway, "{name: closed, default: deny, rules: [{id: flags, effect: flag}]}")
                let then = try await gateway.policies.explain(stage.user, call.id, byPoliciesOfNow: false)
                #expect(then.explanation.decision.rule == "default/default" && then.recorded == "default/default")
                let now = try await gateway.policies.explain(stage.user, call.id, byPoliciesOfNow: true)
                #expect(now.explanation.decision.rule == "closed/default" && now.explanation.decision.effect == .deny)
                #expect(now.explanation.steps.map(\.outcome) == [.noted, .decided])
                let request = try gateway.policies.explain(stage.user, request: "{user: lin, model: anthropic/x}")
                #expect(request.decision.rule == "closed/default")
                await #expect(throws: AppError.self) {
                    try await gateway.policies.explain(stage.user, InterceptionID(), byPoliciesOfNow: true)
                }
                let outcomes = try gateway.policies.test(
                    stage.user, cases: "cases: [{request: {model: a/b}, expect: deny}, {request: {model: a/b}, expect: allow}]",
                    policies: nil)
                #expect(outcomes.map { $0.problem == nil } == [true, false])
                let tried = try gateway.policies.test(
                    stage.user, cases: "cases: [{request: {model: a/b}, rule: closed/default, expect: allow}]",
                    policies: ["{name: closed, default: allow, rules: []}"])
                #expect(tried.map(\.problem) == [nil])
            }
        }
    }
}

import Core
import Foundation
import Testing

@testable import Policies

@Suite struct CaseTests {
    private static let policy = """
        name: models
        default: deny
        rules:
          - {id: large-by-night, effect: flag, when: {bytes: {at_least: 100}, time: {from: "20:00", to: "06:00"}}}
          - {id: seniors, effect: allow, subjects: {groups: [seniors]}}
        """

    private func run(_ cases: String) throws -> [PolicyCases.Outcome] {
        let set = PolicySet([try PolicyReader.read(Self.policy)])
        return try PolicyCases.read(cases, now: Date(timeIntervalSince1970: 0)).run(set)
    }

    @Test func `cases hold or say what came instead`() throws {
        let outcomes = try run(
            """
            cases:
              - name: seniors may
                request: {user: lin, groups: [seniors], model: anthropic/claude, bytes: 5}
                expect: allow
                rule: models/seniors
                flags: []
              - request: {model: anthropic/claude, bytes: 500, at: "2026-11-21T23:00:00Z"}
                expect: deny
                flags: models/large-by-night
              - name: wrong
                request: {model: anthropic/claude}
                expect: allow
                rule: models/seniors
            """)
        #expect(outcomes.map(\.name) == ["seniors may", "case 2", "wrong"])
        #expect(
            outcomes.map(\.problem) == [
                nil, nil, "expected allow and expected the rule models/seniors, got deny by models/default",
            ])
    }

    @Test func `a case that is not understood is told with its place`() {
        func problems(_ text: String) -> [String] {
            do {
                _ = try PolicyCases.read(text, now: Date(timeIntervalSince1970: 0))
                return []
            } catch { return error.problems.map(\.description) }
        }
        #expect(problems("cases: []").count == 1)
        #expect(problems("cases:\n  - {request: {model: claude}, expect: allow}")[0].hasPrefix("line 2, column 23"))
        #expect(problems("cases:\n  - {request: {model: a/b, usr: x}, expect: allow}")[0].contains("did you mean 'user'?"))
        #expect(problems("cases:\n  - {request: {model: a/b}}")[0].contains("'expect'"))
        #expect(problems("cases:\n  - {request: {model: a/b, at: noon}, expect: perhaps}").count == 2)
    }
}

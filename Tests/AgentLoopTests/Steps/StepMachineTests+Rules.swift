import Core
import Foundation
import ModelAPI
import Testing

@testable import AgentLoop

/// The rules that the machine asks: delays, and what counts as progress.
extension StepMachineTests {
    @Test func `delays double, honour what the provider asks, and end`() {
        #expect(RetryRule.delay(failures: 1, asked: nil) == .seconds(2))
        #expect(RetryRule.delay(failures: 7, asked: nil) == .seconds(120))
        #expect(RetryRule.delay(failures: 1, asked: .seconds(30)) == .seconds(30))
        #expect(RetryRule.delay(failures: 3, asked: .milliseconds(1)) == .seconds(8))
        #expect(RetryRule.delay(failures: 1, asked: .seconds(100_000)) == .seconds(900))
        #expect(RetryRule.delay(failures: 8, asked: nil) == nil)
    }

    @Test func `a new change makes repeated tests progress again`() {
        var guardian = RepetitionGuard()
        let tests = CallSignature(tool: "execute", arguments: #"{"command":"make test"}"#, outcome: "1 failed")
        for round in 0..<20 {
            #expect(guardian.record(tests, tool: "execute", isChange: false) == .fine)
            let edit = CallSignature(tool: "edit_file", arguments: "\(round)", outcome: "ok")
            #expect(guardian.record(edit, tool: "edit_file", isChange: true) == .fine)
        }
    }

    @Test func `two calls in turn are noticed as well`() {
        var guardian = RepetitionGuard()
        var verdicts: [RepetitionGuard.Verdict] = []
        for _ in 0..<5 {
            for word in ["a", "b"] {
                verdicts.append(
                    guardian.record(CallSignature(tool: "search", arguments: word, outcome: ""), tool: "search", isChange: false))
            }
        }
        #expect(verdicts.last == .stuck("The model made the same search call 5 times with the same result."))
    }

    @Test func `another order of arguments is the same call`() {
        let one = CallSignature(tool: "search", arguments: #"{"a":1,"b":2}"#, outcome: "x")
        #expect(one == CallSignature(tool: "search", arguments: #"{ "b": 2, "a": 1 }"#, outcome: "x"))
        #expect(one != CallSignature(tool: "search", arguments: #"{"a":1,"b":2}"#, outcome: "y"))
    }

    @Test(arguments: [
        (529, "overloaded_error", "Overloaded", ModelFailure.Kind.overloaded), (429, "rate_limit_error", "slow down", .rateLimited),
        (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", .contextOverflow),
        (400, "context_length_exceeded", "This model's maximum context length is 8192 tokens", .contextOverflow),
        (400, "invalid_request_error", "messages: field required", .rejected),
        (402, "budget_exceeded", "The budget is spent", .budget),
        (403, "policy_denied", "not allowed", .policy), (503, "api_error", "down", .overloaded),
        (500, "api_error", "oops", .unavailable),
        (200, "overloaded_error", "in mid-stream", .overloaded), (200, "api_error", "broke", .brokenOff),
        (401, "authentication_error", "bad key", .rejected),
    ])
    func `an error of the provider is read as what to do next`(status: Int, type: String, message: String, kind: ModelFailure.Kind)
    {
        #expect(ModelFailure.classify(status: status, error: UpstreamError(type: type, message: message)).kind == kind)
    }
}

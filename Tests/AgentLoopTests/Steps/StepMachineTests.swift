import Core
import Foundation
import ModelAPI
import Testing

@testable import AgentLoop

@Suite struct StepMachineTests {
    static let step = StepRef(number: 1, attempt: 1, interception: InterceptionID())

    // MARK: Making answers and machines

    static func answer(
        _ text: String = "", calls: [String] = [], stop: StopReason? = nil, cost: Int64 = 5, isComplete: Bool = true
    ) -> ModelAnswer {
        var blocks: [AnswerBlock] = text.isEmpty ? [] : [.text(text)]
        for (index, name) in calls.enumerated() {
            blocks.append(.toolUse(id: "c\(index)", name: name, inputJSON: "{}", isComplete: isComplete))
        }
        let reason = stop ?? (calls.isEmpty ? .endTurn : .toolUse)
        return ModelAnswer(blocks: blocks, stopReason: reason, usage: Usage(input: 1, output: 1), cost: NanoDollars(cost))
    }

    static func result(_ tool: String = "execute", _ outcome: String = "ok", isChange: Bool = false) -> CallResult {
        CallResult(
            tool: tool, text: outcome, isChange: isChange, signature: CallSignature(tool: tool, arguments: "{}", outcome: outcome))
    }

    /// A machine that asks the model for step 1.
    static func asking(_ position: StepMachine.Position = .init()) -> StepMachine {
        var machine = StepMachine(position)
        _ = machine.handle(.began)
        _ = machine.handle(.opened)
        _ = machine.handle(.stepBegun(step))
        return machine
    }

    static func acting(_ calls: [String] = ["read_file", "execute", "search"]) -> StepMachine {
        var machine = asking()
        _ = machine.handle(.answered(answer(calls: calls)))
        return machine
    }

    private func isSaving(_ actions: [StepAction], _ expected: Ending) -> Bool { actions.last == .saveWork(expected) }

    // MARK: The plain course

    @Test func `a turn goes from opening over steps and calls to its end`() {
        var machine = StepMachine(.init())
        #expect(machine.handle(.began) == [.open])
        #expect(machine.handle(.opened) == [.beginStep(number: 1, attempt: 1)])
        #expect(machine.handle(.stepBegun(Self.step)) == [.ask(Self.step)])
        let answer = Self.answer("I look.", calls: ["read_file", "execute"])
        let actions = machine.handle(.answered(answer))
        guard case .commitAnswer(Self.step, answer, let record)? = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(record.calls.map(\.number) == [1, 2])
        #expect(actions.last == .run(Self.step, 1))
        let first = Self.result("read_file", "a")
        #expect(machine.handle(.callEnded(1, .result(first))) == [.commitResult(1, first, remark: nil), .run(Self.step, 2)])
        let second = Self.result("execute", "b")
        #expect(
            machine.handle(.callEnded(2, .result(second))) == [
                .commitResult(2, second, remark: nil), .beginStep(number: 2, attempt: 1),
            ])
        let next = StepRef(number: 2, attempt: 1, interception: InterceptionID())
        #expect(machine.handle(.stepBegun(next)) == [.ask(next)])
        let last = Self.answer("Done.")
        #expect(
            machine.handle(.answered(last)) == [
                .commitAnswer(next, last, AnswerRecord(isKept: true)), .saveWork(.completed(text: "Done.")),
            ])
        #expect(machine.handle(.workSaved) == [.finish(.completed(text: "Done."))])
        #expect(machine.handle(.finished) == [])
        #expect(machine.phase == .over)
        #expect(machine.position.cost == NanoDollars(10))
    }

    @Test func `a message that came in before the end continues the turn`() {
        var machine = Self.asking()
        _ = machine.handle(.answered(Self.answer("Done.")))
        _ = machine.handle(.workSaved)
        #expect(machine.handle(.messagesWait) == [.beginStep(number: 2, attempt: 1)])
    }

    // MARK: Every pair of phase and event

    static let events: [(name: String, event: StepEvent)] = [
        ("began", .began), ("opened", .opened), ("openFailed", .openFailed(.unavailable("gone", retryAfter: nil))),
        ("stepBegun", .stepBegun(step)),
        ("recalled", .recalled(nil)), ("answered", .answered(answer("Done."))),
        ("askFailed", .askFailed(ModelFailure(.overloaded, "busy"))),
        ("callEnded", .callEnded(1, .result(result()))), ("pruned", .pruned(1)), ("workSaved", .workSaved),
        ("workFailed", .workFailed("no", isTransient: false)), ("finished", .finished), ("messagesWait", .messagesWait),
    ]

    /// Each phase with the events that it expects; all others are late and must change nothing.
    static func phases() -> [(name: String, machine: StepMachine, expected: Set<String>)] {
        var opening = StepMachine(.init())
        _ = opening.handle(.began)
        var beginning = opening
        _ = beginning.handle(.opened)
        var recalling = StepMachine(.init(place: .unanswered(step)))
        _ = recalling.handle(.began)
        _ = recalling.handle(.opened)
        var pruning = asking()
        _ = pruning.handle(.askFailed(ModelFailure(.contextOverflow, "too long")))
        var saving = asking()
        _ = saving.handle(.answered(answer("Done.")))
        var finishing = saving
        _ = finishing.handle(.workSaved)
        var over = finishing
        _ = over.handle(.finished)
        return [
            ("new", StepMachine(.init()), ["began"]), ("opening", opening, ["opened", "openFailed"]),
            ("beginning", beginning, ["stepBegun"]),
            ("recalling", recalling, ["recalled"]), ("asking", asking(), ["answered", "askFailed"]),
            ("acting", acting(), ["callEnded"]),
            ("pruning", pruning, ["pruned"]), ("saving", saving, ["workSaved", "workFailed"]),
            ("finishing", finishing, ["finished", "messagesWait"]), ("over", over, []),
        ]
    }

    @Test func `an event that a phase does not expect changes nothing, and one that it expects does`() {
        for phase in Self.phases() {
            for (name, event) in Self.events {
                var machine = phase.machine
                let actions = machine.handle(event)
                if phase.expected.contains(name) {
                    #expect(!actions.isEmpty || machine.phase != phase.machine.phase, "\(phase.name) × \(name)")
                } else {
                    #expect(actions.isEmpty && machine.phase == phase.machine.phase, "\(phase.name) × \(name)")
                }
            }
        }
    }

    @Test func `the result of a call that is not the current one is late`() {
        var machine = Self.acting()
        #expect(machine.handle(.callEnded(2, .result(Self.result()))).isEmpty)
    }

    /// What a machine does from each phase until it has nothing outstanding, when it was told to stop.
    @Test(arguments: [StepMachine.Stop.drain, .deadline, .interrupt])
    func `every phase comes to its end after a stop`(stop: StepMachine.Stop) {
        for phase in Self.phases() {
            var machine = phase.machine
            var queue = machine.handle(.stop(stop))
            if phase.name == "new" { queue += machine.handle(.began) }
            // What was outstanding before the stop ends as it does when it is cancelled.
            switch phase.name {
            case "opening": queue += machine.handle(.openFailed(.cancelled))
            case "beginning": queue += machine.handle(.stepBegun(Self.step))
            case "recalling": queue += machine.handle(.recalled(nil))
            case "asking":
                #expect(queue == (stop == .drain ? [] : [.cancelAsk]))
                queue += machine.handle(
                    stop == .drain ? .answered(Self.answer(calls: ["execute"])) : .askFailed(ModelFailure(.cancelled, "")))
            case "acting":
                #expect(queue == [.stopCall(1, stop == .interrupt ? .kill : stop == .deadline ? .detach : .abandon)])
                queue += machine.handle(.callEnded(1, stop == .drain ? .abandoned : .result(Self.result())))
            case "pruning": queue += machine.handle(.pruned(1000))
            default: break
            }
            if phase.name == "new", stop != .interrupt { queue += machine.handle(.openFailed(.cancelled)) }
            if case .saving = machine.phase { queue += machine.handle(.workSaved) }
            if case .finishing = machine.phase { queue += machine.handle(.finished) }
            #expect(machine.phase == .over, "\(phase.name)")
            #expect(!queue.contains { if case .ask = $0 { true } else { false } }, "\(phase.name)")
            let isRunning = !["saving", "finishing", "over"].contains(phase.name)
            guard isRunning else { continue }
            switch stop {
            case .drain: #expect(queue.last == .release, "\(phase.name)")
            case .interrupt: #expect(queue.contains(.finish(.interrupted)), "\(phase.name)")
            case .deadline:
                #expect(queue.contains { if case .finish(.paused(.limitTime, _)) = $0 { true } else { false } }, "\(phase.name)")
            }
        }
    }

    @Test func `a higher stop takes the place of a lower one, never the reverse`() {
        var machine = Self.acting()
        #expect(machine.handle(.stop(.drain)) == [.stopCall(1, .abandon)])
        #expect(machine.handle(.stop(.interrupt)) == [.stopCall(1, .kill)])
        #expect(machine.handle(.stop(.drain)).isEmpty)
        #expect(machine.handle(.stop(.interrupt)).isEmpty)
    }

    @Test func `an interrupt during a call dismisses the calls behind it`() {
        var machine = Self.acting()
        _ = machine.handle(.stop(.interrupt))
        let actions = machine.handle(.callEnded(1, .result(Self.result())))
        #expect(actions.dropFirst() == [.dismiss([2, 3], Remark.interruptedCall), .saveWork(.interrupted)])
    }

    @Test func `an answer that ends while draining is committed, and its calls are left to the next owner`() {
        var machine = Self.asking()
        _ = machine.handle(.stop(.drain))
        let actions = machine.handle(.answered(Self.answer(calls: ["execute"])))
        guard case .commitAnswer(_, _, let record)? = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(record.calls.map(\.dismissal) == [nil])
        #expect(actions.last == .release)
    }

    @Test func `an answer that ends with the interrupt runs no call`() {
        var machine = Self.asking()
        _ = machine.handle(.stop(.interrupt))
        let actions = machine.handle(.answered(Self.answer(calls: ["execute"])))
        guard case .commitAnswer(_, _, let record)? = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(record.calls.map(\.dismissal) == [Remark.interruptedCall])
        #expect(actions.last == .saveWork(.interrupted))
    }

    // MARK: Recovery

    @Test func `an answer on record is taken as if it came now`() {
        var machine = StepMachine(.init(place: .unanswered(Self.step), nextStep: 1, nextAttempt: 2))
        _ = machine.handle(.began)
        #expect(machine.handle(.opened) == [.recall(Self.step)])
        let answer = Self.answer(calls: ["execute"])
        let actions = machine.handle(.recalled(answer))
        #expect(actions.last == .run(Self.step, 1))
    }

    @Test func `without an answer on record a new attempt is made`() {
        var machine = StepMachine(.init(place: .unanswered(Self.step), nextStep: 1, nextAttempt: 2))
        _ = machine.handle(.began)
        _ = machine.handle(.opened)
        #expect(machine.handle(.recalled(nil)) == [.beginStep(number: 1, attempt: 2)])
    }

    @Test func `open calls are gone on with, in order`() {
        var machine = StepMachine(.init(place: .acting(Self.step, open: [4, 5], started: true), nextStep: 2, lastCall: 5))
        _ = machine.handle(.began)
        #expect(machine.handle(.opened) == [.run(Self.step, 4)])
        #expect(machine.handle(.callEnded(4, .result(Self.result()))).last == .run(Self.step, 5))
    }

    @Test func `the last words are not asked for again when the work was not saved yet`() {
        var machine = StepMachine(.init(place: .settling(text: "Done."), nextStep: 2))
        _ = machine.handle(.began)
        #expect(machine.handle(.opened) == [.saveWork(.completed(text: "Done."))])
    }

    @Test func `an interrupt that nobody carried out is concluded without the workspace when nothing runs`() {
        var machine = StepMachine(.init(place: .acting(Self.step, open: [1, 2], started: false), isInterrupted: true))
        #expect(machine.handle(.began) == [.dismiss([1, 2], Remark.interruptedCall), .finish(.interrupted)])
    }

    @Test func `an interrupt that nobody carried out kills what runs`() {
        var machine = StepMachine(.init(place: .acting(Self.step, open: [1, 2], started: true), isInterrupted: true))
        #expect(machine.handle(.began) == [.open])
        #expect(machine.handle(.opened) == [.run(Self.step, 1), .stopCall(1, .kill)])
    }

    // MARK: Limits

    @Test func `the cost limit pauses before the next step`() {
        var machine = Self.asking(.init(limits: TaskLimits(cost: NanoDollars(5))))
        _ = machine.handle(.answered(Self.answer(calls: ["execute"], cost: 5)))
        let actions = machine.handle(.callEnded(1, .result(Self.result())))
        #expect(isSaving(actions, .paused(.limitCost, message: "The task has cost $0.000000005 of at most $0.000000005.")))
    }

    @Test func `the step limit pauses before the next step`() {
        var machine = Self.asking(.init(limits: TaskLimits(steps: 1)))
        _ = machine.handle(.answered(Self.answer(calls: ["execute"])))
        let actions = machine.handle(.callEnded(1, .result(Self.result())))
        #expect(isSaving(actions, .paused(.limitSteps, message: "The task has made 1 of at most 1 steps.")))
    }

    // MARK: What models get wrong

    @Test func `a cut answer runs nothing, tells the model, and pauses at the third`() {
        var machine = Self.asking()
        for attempt in 1...3 {
            let actions = machine.handle(.answered(Self.answer(calls: ["write_file"], stop: .maxTokens)))
            guard case .commitAnswer(_, _, let record)? = actions.first else {
                Issue.record("\(actions)")
                return
            }
            #expect(record.calls.allSatisfy { $0.dismissal == Remark.cutCall })
            #expect(record.remark == Remark.cut)
            if attempt < 3 {
                #expect(actions.last == .beginStep(number: attempt + 1, attempt: 1))
                _ = machine.handle(.stepBegun(StepRef(number: attempt + 1, attempt: 1, interception: InterceptionID())))
            } else {
                #expect(isSaving(actions, .paused(.cutAnswers, message: "The model's answers were cut off at the output limit.")))
            }
        }
    }

    @Test func `an empty answer is not kept, and pauses at the third`() {
        var machine = Self.asking(.init(nudges: 1))
        let actions = machine.handle(.answered(Self.answer("  \n")))
        guard case .commitAnswer(_, _, let record)? = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(!record.isKept && record.remark == Remark.empty)
        var last = Self.asking(.init(nudges: 2))
        #expect(isSaving(last.handle(.answered(Self.answer())), .paused(.emptyAnswers, message: "The model gave empty answers.")))
    }

    @Test func `a call that is not complete gets an error, the others run`() {
        var machine = Self.asking()
        var answer = Self.answer(calls: ["read_file"], isComplete: false)
        answer.blocks += Self.answer(calls: ["search"]).blocks
        let actions = machine.handle(.answered(answer))
        guard case .commitAnswer(_, _, let record)? = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(record.calls.map(\.dismissal) == [Remark.brokenCall, nil])
        #expect(actions.last == .run(Self.step, 2))
    }

    @Test func `a refusal pauses with the model's words`() {
        var machine = Self.asking()
        let actions = machine.handle(.answered(Self.answer("I cannot.", stop: .refusal)))
        #expect(isSaving(actions, .paused(.refusal, message: "The model refused to go on: I cannot.")))
    }

    @Test func `the same call with the same result is remarked once and then pauses`() {
        var remarks: [Int] = []
        var machine = Self.asking()
        for number in 1...5 {
            _ = machine.handle(.answered(Self.answer(calls: ["execute"])))
            let actions = machine.handle(.callEnded(number, .result(Self.result("execute", "same"))))
            if case .commitResult(_, _, let remark?)? = actions.first {
                remarks.append(number)
                #expect(remark.contains("3 times with the same result"))
            }
            if number < 5 {
                _ = machine.handle(.stepBegun(StepRef(number: number + 1, attempt: 1, interception: InterceptionID())))
            } else {
                #expect(
                    isSaving(
                        actions, .paused(.stuck, message: "The model made the same execute call 5 times with the same result.")))
            }
        }
        #expect(remarks == [3])
    }

    @Test func `a full context is pruned, and pauses when nothing is left to prune`() {
        var machine = Self.asking()
        let failure = ModelFailure(.contextOverflow, "prompt is too long")
        #expect(machine.handle(.askFailed(failure)) == [.commitFailure(Self.step, failure), .prune])
        #expect(machine.handle(.pruned(50_000)) == [.beginStep(number: 1, attempt: 2)])
        _ = machine.handle(.stepBegun(Self.step))
        _ = machine.handle(.askFailed(failure))
        guard case .saveWork(.paused(.contextOverflow, _))? = machine.handle(.pruned(0)).last else {
            Issue.record("not paused")
            return
        }
    }

    // MARK: Failures of others

    @Test func `an overloaded model is waited for as long as it asks, and pauses at the eighth attempt`() {
        var machine = Self.asking()
        let failure = ModelFailure(.overloaded, "busy", retryAfter: .seconds(45))
        #expect(
            machine.handle(.askFailed(failure)) == [
                .commitFailure(Self.step, failure), .wait(.seconds(45), .model, message: "busy"),
            ])
        var last = Self.asking(.init(failures: 7))
        #expect(
            isSaving(
                last.handle(.askFailed(failure)),
                .paused(.modelUnavailable, message: "The model gave no answer in 8 attempts: busy")))
    }

    @Test(arguments: [
        (ModelFailure.Kind.budget, Ending.paused(.budget, message: "why")), (.policy, .paused(.policy, message: "why")),
        (.rejected, .failed(.modelRejected, message: "why")),
    ])
    func `what trying again does not change ends the turn with its reason`(kind: ModelFailure.Kind, ending: Ending) {
        var machine = Self.asking()
        #expect(isSaving(machine.handle(.askFailed(ModelFailure(kind, "why"))), ending))
    }

    @Test func `a lost workspace leaves the call open and is waited for`() {
        var machine = Self.acting()
        #expect(machine.handle(.callEnded(1, .workspaceLost("gone"))) == [.wait(.seconds(2), .workspace, message: "gone")])
        #expect(machine.position.place == .acting(Self.step, open: [1, 2, 3], started: true))
    }

    @Test func `work that cannot be saved fails a finished turn, but hides no other ending`() {
        var done = Self.asking()
        _ = done.handle(.answered(Self.answer("Done.")))
        #expect(done.handle(.workFailed("disk full", isTransient: false)) == [.finish(.failed(.result, message: "disk full"))])
        var refused = Self.asking()
        _ = refused.handle(.askFailed(ModelFailure(.budget, "spent")))
        #expect(refused.handle(.workFailed("disk full", isTransient: false)) == [.finish(.paused(.budget, message: "spent"))])
    }

    @Test func `a repository that cannot be used fails with the reason`() {
        var machine = StepMachine(.init())
        _ = machine.handle(.began)
        #expect(
            machine.handle(.openFailed(.refused(.repository, message: "no bundle"))) == [
                .finish(.failed(.repository, message: "no bundle"))
            ])
    }

    // MARK: Rules beside it

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

import Core
import Foundation
import ModelAPI
import Testing

@testable import AgentLoop

/// What ends or bends a turn: limits, and what models get wrong.
extension StepMachineTests {
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
}

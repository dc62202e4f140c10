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

    func isSaving(_ actions: [StepAction], _ expected: Ending) -> Bool { actions.last == .saveWork(expected) }

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
}

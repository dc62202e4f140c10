import Core
import Foundation
import ModelAPI
import Testing

@testable import AgentLoop

/// Models, workspaces and repositories that fail.
extension StepMachineTests {
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
}

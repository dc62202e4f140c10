import Core
import Testing

@testable import Workspaces

@Suite struct WorkspaceLifecycleTests {
    private func lifecycle(
        _ transition: Transition, _ job: JobStatus, end: SandboxEnd? = nil, reachable: Bool = true, deleted: Bool = false
    ) -> WorkspaceLifecycle {
        WorkspaceLifecycle(
            build: .init(
                number: 1, transition: transition, job: job, error: job == .failed ? "why" : nil, end: end,
                endMessage: end.map { "ended: \($0.rawValue)" }), isDeleted: deleted, isHostReachable: reachable)
    }

    @Test func `each pair of transition and job state has its status`() {
        let expected: [Transition: [JobStatus: WorkspaceStatus]] = [
            .start: [.pending: .pending, .running: .starting, .succeeded: .running, .failed: .failed],
            .stop: [.pending: .stopping, .running: .stopping, .succeeded: .stopped, .failed: .failed],
            .delete: [.pending: .deleting, .running: .deleting, .succeeded: .deleted, .failed: .failed],
        ]
        for transition in Transition.allCases {
            for job in JobStatus.allCases {
                let found = lifecycle(transition, job)
                #expect(found.status == expected[transition]?[job], "\(transition) \(job)")
                #expect((found.reason != nil) == (job == .failed))
            }
        }
    }

    @Test func `each end of a sandbox has its status and says why`() {
        let expected: [SandboxEnd: WorkspaceStatus] = [
            .ended: .failed, .stopped: .stopped, .memory: .stopped, .disk: .stopped, .hostRestarted: .stopped,
        ]
        for end in SandboxEnd.allCases {
            let found = lifecycle(.start, .succeeded, end: end)
            #expect(found.status == expected[end])
            #expect(found.reason == (end == .stopped ? nil : "ended: \(end.rawValue)"))
            #expect(found.decide(.start) == .build)
        }
    }

    @Test func `a machine that is away hides what may change and nothing else, and deletes nothing`() {
        for transition in Transition.allCases {
            for job in JobStatus.allCases {
                let here = lifecycle(transition, job)
                let away = lifecycle(transition, job, reachable: false)
                let isFinal = [.stopped, .failed, .deleted].contains(here.status)
                #expect(away.status == (isFinal ? here.status : .unreachable))
                #expect(away.decide(.stop) == here.decide(.stop))
            }
        }
    }

    @Test func `each request in each state is decided`() {
        typealias Decision = WorkspaceLifecycle.Decision
        let partly = Decision.refuse(code: .conflict, "The workspace could be deleted only in part. Delete it again.")
        let gone = Decision.refuse(code: .notFound, "The workspace is deleted.")
        // by transition and job state of the latest build: what start, stop and delete lead to
        let table: [(Transition, JobStatus, Decision, Decision, Decision)] = [
            (.start, .pending, .already, .wait, .wait), (.start, .running, .already, .wait, .wait),
            (.start, .succeeded, .already, .build, .build), (.start, .failed, .build, .build, .build),
            (.stop, .pending, .wait, .already, .wait), (.stop, .running, .wait, .already, .wait),
            (.stop, .succeeded, .build, .already, .build), (.stop, .failed, .build, .build, .build),
            (.delete, .pending, .wait, .wait, .already), (.delete, .running, .wait, .wait, .already),
            (.delete, .succeeded, gone, gone, .already), (.delete, .failed, partly, partly, .build),
        ]
        for (transition, job, start, stop, delete) in table {
            let found = lifecycle(transition, job)
            #expect(found.decide(.start) == start, "\(transition) \(job)")
            #expect(found.decide(.stop) == stop, "\(transition) \(job)")
            #expect(found.decide(.delete) == delete, "\(transition) \(job)")
        }
        #expect(lifecycle(.start, .succeeded, deleted: true).decide(.start) == gone)
    }
}

@Suite struct WorkspaceNameTests {
    @Test func `names of people are checked`() {
        for name in ["a", "My-work_1.2", String(repeating: "x", count: 64)] {
            #expect(throws: Never.self) { try WorkspaceName.check(name) }
        }
        for name in ["", "-a", ".", "a b", "ä", "a/b", String(repeating: "x", count: 65), WorkspaceID().description] {
            let error = #expect(throws: AppError.self) { try WorkspaceName.check(name) }
            #expect(error?.field == "name")
        }
    }

    @Test func `any text becomes a name`() {
        #expect(WorkspaceName.from("Fix the  bug in `parse()`!") == "fix-the-bug-in-parse")
        #expect(WorkspaceName.from("äöü …") == "task")
        #expect(WorkspaceName.from(String(repeating: "word ", count: 30)).utf8.count <= 40)
        for text in ["../../etc", "-- x", "9", "a_b.c", WorkspaceID().description] {
            #expect(throws: Never.self) { try WorkspaceName.check(WorkspaceName.from(text)) }
        }
    }
}

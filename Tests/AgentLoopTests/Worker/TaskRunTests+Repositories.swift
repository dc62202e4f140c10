import Core
import Foundation
import ModelAPI
import TestSupport
import Testing

@testable import AgentLoop

/// What people hand over as a repository.
extension TaskRunTests {
    @Test func `a base branch is where the work begins`() async throws {
        try await Bench.with([.answer(.text("Nothing to do."))]) { bench in
            let task = try await bench.create(baseBranch: "release")
            _ = try await bench.working { try await bench.untilEnd(task.id) }
            let record = try await bench.service.get(bench.principal, task.id)
            #expect(record.status == .completed)
            #expect(record.baseBranch == "release")
            #expect(!record.hasBundle)
        }
    }

    @Test func `an unknown base branch fails with the branches there are`() async throws {
        try await Bench.with([]) { bench in
            let task = try await bench.create(baseBranch: "relaese")
            _ = try await bench.working { try await bench.untilEnd(task.id) }
            let record = try await bench.service.get(bench.principal, task.id)
            #expect(record.status == .failed)
            #expect(record.reason == "repository")
            #expect(record.message?.contains("no branch 'relaese'. It has: main release.") == true, "\(record.message ?? "")")
        }
    }

    @Test(arguments: [Data("nonsense".utf8), Data("# v2 git bundle\n0123".utf8)])
    func `a broken bundle fails with what to do`(bundle: Data) async throws {
        try await Bench.with([]) { bench in
            let task = try await bench.create(bundle: bundle)
            _ = try await bench.working { try await bench.untilEnd(task.id) }
            let record = try await bench.service.get(bench.principal, task.id)
            #expect(record.status == .failed)
            #expect(record.message?.contains("not a whole git bundle") == true, "\(record.message ?? "")")
            #expect(record.message?.contains("git bundle create") == true)
        }
    }

    @Test func `hooks that the workload leaves in the repository do not run at the commit`() async throws {
        try await Bench.with([
            .answer(
                .calls(
                    (
                        "execute",
                        [
                            "command": .string(
                                "mkdir -p .git/hooks; printf '#!/bin/sh\\ntouch ../hooked\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; echo x > x"
                            )
                        ]
                    ))), .answer(.text("Add x")),
        ]) { bench in
            let task = try await bench.create()
            _ = try await bench.working { try await bench.untilEnd(task.id) }
            #expect(try await bench.service.get(bench.principal, task.id).hasBundle)
            #expect(bench.sandbox.text("hooked") == nil)
        }
    }
}

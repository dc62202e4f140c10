import API
import Foundation
import Testing

/// What people are told about their workspaces, through the client program.
@Suite(.serialized, .timeLimit(.minutes(3)), .enabled(if: Delegation.isBuilt, "run: make tools agent"))
struct WorkspaceLogTests {
    private struct Line: Decodable {
        var build: Int
        var source: String
        var level: String
        var stage: String
        var output: String
    }

    private func lines(_ text: String) throws -> [Line] {
        try text.split(separator: "\n").map { try APICoding.decoder().decode(Line.self, from: Data($0.utf8)) }
    }

    @Test func `the log of a workspace has what the server did and what the agent says, build by build`() async throws {
        try await JobBench.with { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            func slipway(_ words: String...) throws -> JobBench.Outcome { try bench.slipway(words, server: server) }
            #expect(try slipway("workspace", "create", "box").status == 0)
            #expect(try slipway("workspace", "exec", "box", "--", "true").status == 0)
            let end = ContinuousClock.now + .seconds(20)
            var told: [Line] = []
            while !told.contains(where: { $0.source == "agent" }), ContinuousClock.now < end {
                told = try lines(slipway("workspace", "logs", "box", "--output", "json").output)
            }
            #expect(told.first?.stage == "Starting workspace" && told.first?.output == "Build 1.")
            #expect(told.contains { $0.output.hasPrefix("The sandbox runs: uids") && $0.source == "provisioner_daemon" })
            #expect(told.contains { $0.source == "agent" && $0.output.hasPrefix("connected to") }, "\(told)")
            let plain = try slipway("workspace", "logs", "box").output
            #expect(plain.contains("Starting workspace  Build 1."), "\(plain)")

            #expect(try slipway("workspace", "stop", "box").status == 0)
            while try !slipway("workspace", "list").output.contains("stopped") {}
            let stopped = try lines(slipway("workspace", "logs", "box", "--build", "2", "--output", "json").output)
            #expect(stopped.allSatisfy { $0.build == 2 && $0.stage == "Stopping workspace" } && stopped.count == 2)
            // The latest start and what came after it.
            #expect(Set(try lines(slipway("workspace", "logs", "box", "--output", "json").output).map(\.build)) == [1, 2])
            #expect(try slipway("workspace", "delete", "box").status == 0)
            while try slipway("workspace", "list").output.contains("box") {}
            await server.stop()
        }
    }

    @Test func `a log that is followed goes on by itself, also in the builds that come`() async throws {
        try await JobBench.with { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            #expect(try bench.slipway(["workspace", "create", "box"], server: server).status == 0)
            let follower = try bench.begin(["workspace", "logs", "box", "--follow", "--output", "json"], server: server)
            try await follower.wait(for: "The sandbox runs:")
            try await follower.wait(for: "connected to")
            #expect(try bench.slipway(["workspace", "stop", "box"], server: server).status == 0)
            try await follower.wait(for: "Stopping workspace")
            follower.end()
            let told = try lines(follower.output)
            #expect(Set(told.map(\.build)) == [1, 2])
            #expect(told.count { $0.output == "Build 1." } == 1 && told.count { $0.output == "Build 2." } == 1, "\(told)")
            #expect(try bench.slipway(["workspace", "delete", "box"], server: server).status == 0)
            while try bench.slipway(["workspace", "list"], server: server).output.contains("box") {}
            await server.stop()
        }
    }

    @Test func `a workspace that does not start says why, and where there is more`() async throws {
        try await JobBench.with(arguments: ["--libexec", "/nowhere"]) { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            #expect(try bench.slipway(["workspace", "create", "box"], server: server).status == 0)
            let exec = try bench.slipway(["workspace", "exec", "box", "--", "true"], server: server)
            #expect(exec.status == 1 && exec.errors.contains("/nowhere/slipway-launcher is missing"), "\(exec.errors)")
            #expect(exec.errors.contains("See: slipway workspace logs box"), "\(exec.errors)")
            let told = try lines(bench.slipway(["workspace", "logs", "box", "--output", "json"], server: server).output)
            #expect(told.contains { $0.level == "error" && $0.output.contains("/nowhere/slipway-launcher is missing") }, "\(told)")
            let missing = try bench.slipway(["workspace", "logs", "nobody"], server: server)
            #expect(missing.status == 4 && missing.errors.contains("There is no workspace 'nobody'"))
            await server.stop()
        }
    }
}

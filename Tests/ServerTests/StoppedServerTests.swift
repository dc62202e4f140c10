import API
import Core
import Foundation
import TestSupport
import Testing

/// A server that stands still without closing anything: swapped out, or its machine paused.
@Suite(.serialized, .timeLimit(.minutes(5)), .enabled(if: Delegation.isBuilt, "run: make tools agent"))
struct StoppedServerTests {
    @Test func `agents give up a server that stands still, and are back when it goes on`() async throws {
        try await JobBench.with { bench in
            let server = try await bench.start()
            try await bench.signIn(server)
            let client = bench.client(server)
            _ = try await client.post(APIPaths.workspaces, CreateWorkspaceRequest(name: "still"))
            let exec = "\(APIPaths.workspaces)/still/exec"
            let first = try await client.post(exec, ExecRequest(command: "echo once >> note")).json(ExecResponse.self)
            #expect(first.exitCode == 0)

            server.signal(SIGSTOP)
            try await untilAgentSays("connection to", "ended", below: bench.directory)
            server.signal(SIGCONT)

            // What it knows of tokens is too old to be trusted until it has read it again: that is told as "try again".
            try await eventually(within: .seconds(30), "the workspace can be entered again") {
                let answer = try await client.post(exec, ExecRequest(command: "cat note"))
                guard answer.status == 200 else {
                    #expect(answer.status == 503, "\(answer.text)")
                    return false
                }
                #expect(try answer.json(ExecResponse.self).output == "once\n")
                return true
            }
            _ = try await client.send("DELETE", "\(APIPaths.workspaces)/still")
            await server.stop()
        }
    }

    /// Reads the sandboxes' logs until an agent has written a line with both words.
    private func untilAgentSays(_ one: String, _ other: String, below folder: String) async throws {
        let places = folder + "/sandboxes/ws"
        try await eventually("an agent noticed") {
            let logs = ((try? FileManager.default.contentsOfDirectory(atPath: places)) ?? []).map {
                (try? String(contentsOfFile: "\(places)/\($0)/state/log", encoding: .utf8)) ?? ""
            }
            return logs.joined(separator: "\n").split(separator: "\n").contains { $0.contains(one) && $0.contains(other) }
        }
    }
}

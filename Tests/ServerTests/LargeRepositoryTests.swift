import API
import Foundation
import TestSupport
import Testing

/// Repositories of more than a hundred MiB: in and out, with neither side holding them in memory.
@Suite(.serialized, .timeLimit(.minutes(10)), .enabled(if: Delegation.isBuilt, "run: make tools agent"))
struct LargeRepositoryTests {
    /// Far less than the files, and room for what a process has anyway.
    private static let bound = 80 << 10

    @Test func `a repository of 110 MiB goes in and a commit of as much comes out in bounded memory`() async throws {
        try await JobBench.with { bench in
            try bench.shell(
                "head -c 115343360 /dev/urandom > data.bin && git add -A && git -c user.name=T -c user.email=t@example.com commit -qm data",
                in: bench.repository)
            let server = try await bench.start()
            try await bench.signIn(server)
            let client = bench.client(server)
            // A first, small answer: what the program has without any file.
            let idle = try bench.slipway(["users", "me"], server: server).peakKiB
            let before = try #require(ServerProcess.peakKiB(of: server.pid))

            let created = try bench.slipway(
                ["task", "create", "--repo", bench.repository, "--prompt", "demo: large file", "--output", "json"], server: server)
            try #require(created.status == 0, "\(created.errors)")
            #expect(created.peakKiB - idle < Self.bound, "the client had \(created.peakKiB) KiB at most, \(idle) without a file")
            let task = try APICoding.decoder().decode(AgentTask.self, from: Data(created.output.utf8)).id
            let (record, events) = try await bench.follow(task, client, within: 300) { task, _ in JobBench.isAtRest(task) }
            try #require(record.status == "completed", "\(record.message ?? "") \(events.map(\.kind))")

            let pulled = try bench.slipway(["task", "pull", task], server: server)
            try #require(pulled.status == 0, "\(pulled.errors)")
            #expect(pulled.peakKiB - idle < Self.bound, "the client had \(pulled.peakKiB) KiB at most, \(idle) without a file")
            let size = try bench.shell("git cat-file -s \(record.repository.branch):large.bin", in: bench.repository)
            #expect(size.trimmingCharacters(in: .newlines) == "115343360")
            let after = try #require(ServerProcess.peakKiB(of: server.pid))
            #expect(after - before < Self.bound, "the server had \(after) KiB at most, \(before) before")
            await server.stop()
        }
    }

    @Test func `a bundle beyond the limit is refused with the limit and who can raise it`() async throws {
        try await JobBench.with(arguments: ["--max-upload", "1MiB"]) { bench in
            try bench.shell(
                "head -c 8000000 /dev/urandom > data.bin && git add -A && git -c user.name=T -c user.email=t@example.com commit -qm data",
                in: bench.repository)
            let server = try await bench.start()
            try await bench.signIn(server)
            let refused = try bench.slipway(
                ["task", "create", "--repo", bench.repository, "--prompt", "demo: hello"], server: server)
            #expect(refused.status != 0)
            #expect(refused.errors.contains("1 MiB") && refused.errors.contains("--max-upload"), "\(refused.errors)")
            await server.stop()
        }
    }
}

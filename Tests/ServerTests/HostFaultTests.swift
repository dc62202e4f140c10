import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

/// A machine that lacks something: a program, room on the disk. Only root can take these away from one process alone.
@Suite(
    .serialized, .timeLimit(.minutes(5)), .enabled(if: Delegation.isBuilt, "run: make tools agent"),
    .enabled(if: geteuid() == 0, "mounting needs root"))
struct HostFaultTests {
    /// Runs a server for which these programs of `/usr/bin` are not installed.
    private func without(_ names: [String], _ directory: String) -> [String] {
        let script = """
            mkdir -p \(directory)/hidden && mount -t tmpfs tmpfs \(directory)/hidden && mkdir \(directory)/hidden/u \(directory)/hidden/w \
            && mount -t overlay overlay -o lowerdir=/usr/bin,upperdir=\(directory)/hidden/u,workdir=\(directory)/hidden/w /usr/bin \
            && cd /usr/bin && rm \(names.joined(separator: " ")) && cd / && exec "$0" "$@"
            """
        return ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script]
    }

    @Test func `without bubblewrap the start and each task say so in one sentence, and the task goes on once it is there`()
        async throws
    {
        try await TestDatabase.with { database in
            let delegation = try await Delegation(database)
            let lacking = try await delegation.start(under: without(["bwrap"], delegation.directory))
            let said = "/usr/bin/bwrap is missing: workspaces on this host need bubblewrap. Run: apt-get install bubblewrap"
            #expect(lacking.logText.contains("Tasks cannot be worked on: " + said))
            let task = try await delegation.delegate("demo: steps", to: lacking)
            try await delegation.follow(task, on: lacking) { _, task in task.status == "waiting" }
            #expect(try await delegation.task(task, on: lacking).message?.contains(said) == true)
            lacking.signal(SIGTERM)
            #expect(await lacking.ended() == 0)

            let with = try await delegation.start()
            try await delegation.expectCompleted(task, on: with, lines: (1...6).map(String.init))
            try await delegation.cleanUp(task, with)
        }
    }

    @Test func `without git the start and the task say so in one sentence, and the task is resumed once it is there`() async throws
    {
        try await TestDatabase.with { database in
            let delegation = try await Delegation(database)
            let lacking = try await delegation.start(under: without(["git"], delegation.directory))
            #expect(
                lacking.logText.contains("/usr/bin/git is missing: tasks need it in their workspaces. Run: apt-get install git"))
            let task = try await delegation.delegate("demo: steps", to: lacking)
            try await delegation.follow(task, on: lacking) { _, task in task.status == "failed" }
            let failed = try await delegation.task(task, on: lacking)
            #expect(failed.message?.hasPrefix("git is not installed in the workspace") == true, "\(failed)")
            let workspace = try #require(failed.workspaceID)
            // What a sandbox sees of the machine is what was there when it was started.
            _ = try await delegation.client(lacking).send("POST", "\(APIPaths.workspaces)/\(workspace)/stop")
            try await eventually {
                try await delegation.client(lacking).get("\(APIPaths.workspaces)/\(workspace)").json(Workspace.self).status
                    == "stopped"
            }
            lacking.signal(SIGTERM)
            #expect(await lacking.ended() == 0)

            let with = try await delegation.start()
            #expect(
                try await delegation.client(with).post("\(APIPaths.tasks)/\(task.id)/resume", ResumeTaskRequest()).status == 200)
            try await delegation.follow(task, on: with) { _, task in task.status == "completed" }
            try await delegation.cleanUp(task, with)
        }
    }

    @Test func `a full disk is named at readyz and in answers, and everything goes on when there is room again`() async throws {
        let directory = try ServerProcess.temporaryDirectory()
        try Shell.check("mount -t tmpfs -o size=260m,mode=0711 tmpfs \(directory)")
        defer { _ = try? Shell.run("umount -l \(directory)") }
        try await RawServer.with(ScriptedProvider.script()) { upstream in
            let server = try await ServerProcess.start(
                database: nil, directory: directory, environment: ScriptedProvider.environment(upstream))
            let pool = try DatabaseFaultTests.pool(of: server)
            let client = Client(server, token: try await People.token(pool, "ada", roles: [.owner]))
            var answered: [String] = []
            try await CallLoad.with(client, width: 6) { load in
                try await load.more(20)
                // All that is left, and again what is freed meanwhile, until a write has failed.
                var number = 0
                try await eventually(server.logText.suffix(3000).description) {
                    number += 1
                    _ = try Shell.run("head -c 260M /dev/zero > \(directory)/filler-\(number)")
                    return load.refused[503] != nil
                }
                let ready = try await client.get("/readyz")
                #expect(
                    ready.status == 503 && ready.text.hasPrefix("not ready: the disk is full: 0 MiB are free in \(directory)"),
                    "\(ready.text)")
                try await server.waitForLine(containing: "Make room: the disk is full")
                #expect(try await client.get("/healthz").status == 200)

                try Shell.check("rm \(directory)/filler-*")
                try await load.more(20)
                try await eventually { try await client.get("/readyz").status == 200 }
                await load.stop()
                answered = load.answered
            }
            try await Books(pool: pool).check(answered: answered)
            try await Books(pool: pool).verify(client)
            await pool.close()
            server.signal(SIGTERM)
            #expect(await server.ended() == 0)
        }
    }
}

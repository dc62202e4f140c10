import Core
import Foundation
import Glibc
import Testing

@testable import Provisioning

/// The zone's wire: starting once, signals, output in a ring, hostile messages.
@Suite(.serialized)
struct ZoneTests {
    private func withAgent(_ body: (StandIn) throws -> Void) async throws {
        try await TestHost.with(Mode.possible[0]) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            _ = try await host.sandbox.start(TestHost.spec())
            try body(try server.accept())
        }
    }

    @Test func `a command with a known id is not started again`() async throws {
        try await withAgent { (agent: StandIn) throws in
            let first = try agent.start(["/bin/bash", "-c", "echo once >> log"], id: "same")
            #expect(first.error == 0 && !first.already)
            _ = try agent.waitForEnd("same")
            let second = try agent.start(["/bin/bash", "-c", "echo twice >> log"], id: "same")
            #expect(second == .init(error: 0, pid: first.pid, already: true, stage: 0))
            #expect(try agent.shell("cat log").output == "once\n")
            #expect(try agent.ask(6, id: "same").payload.integer(0) as Int32 == 0)
            #expect(try agent.status("same").state == 0, "forgotten")
        }
    }

    @Test func `what cannot be started says at which stage, and leaves no trace`() async throws {
        try await withAgent { (agent: StandIn) throws in
            #expect(try agent.start(["/no/such/program"], id: "a") == .init(error: ENOENT, pid: 0, already: false, stage: 4))
            #expect(try agent.start(["/etc/passwd"], id: "b") == .init(error: EACCES, pid: 0, already: false, stage: 4))
            #expect(
                try agent.start(["/bin/true"], id: "c", directory: "/nowhere")
                    == .init(error: ENOENT, pid: 0, already: false, stage: 3))
            #expect(try agent.start([], id: "d").stage == 1)
            #expect(try agent.start(["/bin/true"], id: "e", capacity: 1).stage == 1)
            #expect(try agent.start(["/bin/true"], id: "f", environment: ["novalue"]).stage == 1)
            #expect(try agent.start(["/bin/true"], id: "g", flags: 1 | 1 << 20).stage == 1)
            for id in ["a", "b", "c", "d", "e", "f", "g"] { #expect(try agent.status(id).state == 0) }
        }
    }

    @Test func `directory, environment and arguments arrive as given`() async throws {
        try await withAgent { (agent: StandIn) throws in
            let odd = "a b\n\"c\" $HOME 'd' ünï"
            #expect(
                try agent.start(
                    ["/bin/sh", "-c", "pwd; printf '%s|' \"$1\" \"$X\" \"$PATH\"", "sh", odd], id: "odd", directory: "/tmp",
                    environment: ["X=\(odd)", "PATH=/usr/bin:/bin:/mine"]
                ).error == 0)
            _ = try agent.waitForEnd("odd")
            let ring = try agent.ring("odd")
            #expect(String(decoding: ring.bytes, as: UTF8.self) == "/tmp\n\(odd)|\(odd)|/usr/bin:/bin:/mine|")
        }
    }

    @Test func `a signal reaches the leader, its group or its whole session`() async throws {
        try await withAgent { (agent: StandIn) throws in
            // Two jobs in groups of their own, as an interactive shell makes them.
            let line = "set -m; sleep 1000 & sleep 1001 & echo started; trap '' TERM; wait; wait"
            #expect(try agent.start(["/bin/bash", "-c", line], id: "jobs").error == 0)
            while try agent.status("jobs").total < 8 { _ = try agent.receive() }
            func signal(_ number: UInt32, scope: UInt32) throws -> (Int32, UInt32) {
                let payload = try agent.ask(3, id: "jobs", number.bytes + scope.bytes).payload
                return (payload.integer(0), payload.integer(4))
            }
            #expect(try signal(0, scope: 2) == (0, 3))
            #expect(try signal(9, scope: 0) == (0, 1))
            var status = try agent.status("jobs")
            while status.state == 1 {
                _ = try agent.receive()
                status = try agent.status("jobs")
            }
            #expect(status.killedBy == 9 && status.outputOpen, "its jobs hold the pipe")
            #expect(try agent.ask(6, id: "jobs").payload.integer(0) as Int32 == EBUSY)
            #expect(try signal(9, scope: 2) == (0, 2), "the jobs, though their leader is gone")
            #expect(try agent.waitForEnd("jobs").outputOpen == false)
            // The dead are of the session until they are buried; each question is a round trip to who buries them.
            let deadline = ContinuousClock.now + .seconds(30)
            while try signal(9, scope: 2).0 != ESRCH, .now < deadline {}
            #expect(try signal(9, scope: 2).0 == ESRCH)
            #expect(try signal(65, scope: 0).0 == EINVAL)
        }
    }

    @Test func `a ring keeps the end of a long output and counts all of it`() async throws {
        try await withAgent { (agent: StandIn) throws in
            let start = try agent.start(["/usr/bin/seq", "1", "200000"], id: "long", capacity: 131072)
            #expect(start.error == 0)
            let status = try agent.waitForEnd("long")
            let all = (1...200000).map { "\($0)\n" }.joined().utf8
            #expect(status.total == UInt64(all.count))
            let ring = try agent.ring("long")
            #expect(ring.final && ring.capacity == 131072 && ring.total == UInt64(all.count))
            // The start of the file is where the output's index is a multiple of the capacity.
            let lap = (all.count / 131072) * 131072
            let expected = Array(all.dropFirst(lap).prefix(ring.bytes.count))
            #expect(Array(ring.bytes.prefix(expected.count)) == expected)
        }
    }

    @Test func `killing all it can leaves the zone with the workload's exit status`() async throws {
        try await withAgent { (agent: StandIn) throws in
            #expect(try agent.start(["/bin/sleep", "1000"], id: "victim").error == 0)
            #expect(try agent.start(["/bin/bash", "-c", "echo last words; kill -9 -1"], id: "killer").error == 0)
            #expect(try agent.waitForEnd("victim").killedBy == 9)
            let killer = try agent.waitForEnd("killer")
            #expect(killer.total == 11)
            #expect(try agent.shell("echo still here").output == "still here\n")
        }
    }

    @Test func `malformed messages are answered and harm nobody`() async throws {
        try await withAgent { (agent: StandIn) throws in
            #expect(try agent.ask(999, id: "x").kind == 0x1FF)
            #expect(try agent.ask(3, id: "x", [1]).kind == 0x1FF)
            #expect(try agent.start(["/bin/true"], id: "").stage == 1)
            // Counts that the message does not hold, and no end to the last string.
            for payload in [
                UInt32(1).bytes,
                UInt32(1).bytes + UInt32(4096).bytes + UInt32(4096).bytes + UInt32(1 << 20).bytes + UInt32(0).bytes + [0x41],
                UInt32(1).bytes + UInt32.max.bytes + UInt32.max.bytes + UInt32.max.bytes + UInt32.max.bytes + [0],
            ] {
                #expect(try agent.ask(2, id: "y", payload).payload.integer(12) as UInt32 == 1)
            }
            var random = SystemRandomNumberGenerator()
            for size in 0..<400 {
                try agent.send(random.next() % 12, id: "z", (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) })
                while try agent.receive().kind >= 0x200 {}
            }
            #expect(try agent.shell("echo unharmed").output == "unharmed\n")
        }
    }

    @Test func `a terminal behaves like one`() async throws {
        try await withAgent { (agent: StandIn) throws in
            #expect(
                try agent.start(["/bin/bash", "-c", "tty; stty size; read line; echo got $line"], id: "tty", flags: 1 | 8).error
                    == 0)
            #expect(try agent.ask(9, id: "tty", UInt16(40).bytes + UInt16(100).bytes).payload.integer(0) as Int32 == 0)
            #expect(try agent.ask(7, id: "tty", Array("hello\n".utf8)).payload.integer(4) as UInt32 == 6)
            #expect(try agent.waitForEnd("tty").exited == 0)
            let output = String(decoding: try agent.ring("tty").bytes, as: UTF8.self)
            #expect(output.contains("/dev/pts/") && output.contains("got hello"))
        }
    }

    @Test func `input reaches a command and ends when it is closed`() async throws {
        try await withAgent { (agent: StandIn) throws in
            #expect(try agent.start(["/usr/bin/wc", "-c"], id: "count", flags: 1 | 4).error == 0)
            let chunk = [UInt8](repeating: 0x61, count: 10_000)
            var sent = 0
            while sent < 300_000 { sent += Int(try agent.ask(7, id: "count", chunk).payload.integer(4) as UInt32) }
            #expect(try agent.ask(8, id: "count").payload.integer(0) as Int32 == 0)
            _ = try agent.waitForEnd("count")
            #expect(String(decoding: try agent.ring("count").bytes, as: UTF8.self) == "\(sent)\n")
        }
    }
}

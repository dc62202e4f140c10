import Foundation
import TestSupport
import Testing

/// Tests that break off leave nothing running on the machine.
@Suite struct ServerProcessTests {
    private struct Broken: Error {}

    private func isRunning(_ pid: pid_t) -> Bool { kill(pid, 0) == 0 }

    @Test func `a test that breaks off ends its server`() async throws {
        var pid: pid_t = 0
        do {
            let server = try await ServerProcess.start(database: nil)
            pid = server.pid
            throw Broken()
        } catch is Broken {}
        try await eventually("the server has ended") { !isRunning(pid) }
    }

    @Test func `a test on the bench that breaks off ends its server before it is over`() async throws {
        var pid: pid_t = 0
        await #expect(throws: Broken.self) {
            try await JobBench.with { bench in
                pid = try await bench.start().pid
                throw Broken()
            }
        }
        #expect(pid != 0 && !isRunning(pid))
    }
}

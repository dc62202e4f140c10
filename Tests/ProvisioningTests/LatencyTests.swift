import Foundation
import Testing

@testable import Provisioning

/// Measured, not judged: other builds share the machine.
@Suite(.serialized)
struct LatencyTests {
    @Test(arguments: Mode.possible)
    func `starting to a serving zone and a command's round trip are measured`(mode: Mode) async throws {
        try await TestHost.with(mode) { host in
            let server = try StandInServer(host.configuration)
            defer { server.close() }
            let spec = TestHost.spec()
            var starts: [Double] = [], connects: [Double] = [], trips: [Double] = []
            for _ in 0..<20 {
                let began = ContinuousClock.now
                let record = try await host.sandbox.start(spec)
                starts.append((ContinuousClock.now - began) / .milliseconds(1))
                let agent = try server.accept()
                connects.append((ContinuousClock.now - began) / .milliseconds(1))
                let asked = ContinuousClock.now
                let done = try agent.run(["/bin/true"])
                trips.append((ContinuousClock.now - asked) / .milliseconds(1))
                #expect(done.status.exited == 0)
                try await host.sandbox.kill(record)
                agent.close()
            }
            func median(_ values: [Double]) -> String { String(format: "%.1f ms", values.sorted()[values.count / 2]) }
            print("sandbox (\(mode)): zone serves \(median(starts)), agent connected \(median(connects)), command \(median(trips))")
            #expect(starts.count == 20)
        }
    }
}

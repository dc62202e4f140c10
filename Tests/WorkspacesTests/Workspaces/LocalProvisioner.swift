import Core
import Foundation
import Logging
import TestSupport

@testable import Provisioning

/// Real sandboxes of this machine, looked after by the test's own process instead of a daemon.
final class LocalProvisioner: Provisioner {
    static let libexec =
        ProcessInfo.processInfo.environment["SLIPWAY_LIBEXEC"] ?? FileManager.default.currentDirectoryPath + "/dist/libexec"
    /// `make tools agent` has been run; `make test` does.
    static var isBuilt: Bool { FileManager.default.isExecutableFile(atPath: libexec + "/sandbox/agent") }

    let sandbox: LocalSandbox
    let deaths: AsyncStream<SandboxDeath>
    private let tellDeath: AsyncStream<SandboxDeath>.Continuation

    init(base: String) async throws {
        sandbox = try await LocalSandbox.open(SandboxConfiguration(base: base, libexec: Self.libexec), logger: .silent)
        (deaths, tellDeath) = AsyncStream.makeStream()
    }

    func close() { sandbox.close() }

    func probe() async throws -> SandboxCapabilities { try await sandbox.probe() }
    func start(_ spec: SandboxSpec) async throws -> SandboxRecord {
        let record = try await sandbox.start(spec)
        watch(record)
        return record
    }
    func stop(_ record: SandboxRecord) async throws { try await sandbox.kill(record) }
    func delete(workspace: WorkspaceID, number: Int) async throws { try await sandbox.remove(workspace: workspace, number: number) }
    func status(workspace: WorkspaceID, number: Int) async throws -> SandboxRecord? {
        try await sandbox.running(workspace: workspace, number: number)
    }
    func adopt(_ record: SandboxRecord, limits: SandboxLimits) async throws -> Bool {
        guard await sandbox.adopt(record, limits: limits) else { return false }
        watch(record)
        return true
    }
    func usage(_ record: SandboxRecord) async throws -> SandboxUsage { try await sandbox.usage(record) }
    func log(workspace: WorkspaceID, number: Int) async throws -> String {
        try await sandbox.log(workspace: workspace, number: number)
    }

    /// Ends with the sandbox.
    private func watch(_ record: SandboxRecord) {
        Task { [sandbox, tellDeath] in tellDeath.yield(await sandbox.onDeath(record)) }
    }
}

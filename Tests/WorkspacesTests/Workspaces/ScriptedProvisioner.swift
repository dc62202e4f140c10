import Core
import Foundation
import NIOConcurrencyHelpers
@testable import Provisioning

/// Stands in for the sandbox where the tests are about rows: it keeps the same promises, and fails loudly where it is misused.
final class ScriptedProvisioner: Provisioner {
    struct State {
        var living: [WorkspaceID: SandboxRecord] = [:]
        var tokens: [WorkspaceID: Secret<String>] = [:]
        var files: Set<WorkspaceID> = []
        var log: [String] = []
        var startError: AppError?
        var gate: [CheckedContinuation<Void, Never>]?
    }

    let deaths: AsyncStream<SandboxDeath>
    private let tellDeath: AsyncStream<SandboxDeath>.Continuation
    let state = NIOLockedValueBox(State())

    init() { (deaths, tellDeath) = AsyncStream.makeStream() }

    func probe() async throws -> SandboxCapabilities { throw AppError(.internal, "nobody probes here") }

    func start(_ spec: SandboxSpec) async throws -> SandboxRecord {
        try spec.check()
        await withCheckedContinuation { continuation in
            let waits = state.withLockedValue { state in
                state.gate?.append(continuation)
                return state.gate != nil
            }
            if !waits { continuation.resume() }
        }
        return try state.withLockedValue { state in
            state.log.append("start \(spec.number)")
            if let error = state.startError { throw error }
            guard state.living[spec.workspace] == nil else {
                throw AppError(.conflict, "The workspace's sandbox is running already.")
            }
            guard !state.living.values.contains(where: { $0.number == spec.number }) else {
                throw AppError(.conflict, "place taken")
            }
            let record = SandboxRecord(
                workspace: spec.workspace, number: spec.number, childPID: 1, startTime: 1, bootID: "boot",
                sandboxID: UUID().uuidString,
                isolation: .init(uids: "-", memory: "-", processes: "-", cpu: "-", freezer: "-", quota: "-", home: "-"))
            state.living[spec.workspace] = record
            state.tokens[spec.workspace] = spec.token
            state.files.insert(spec.workspace)
            return record
        }
    }

    func stop(_ record: SandboxRecord) async throws {
        end(record.workspace, .stopped, "The workspace was stopped.", sandbox: record.sandboxID)
    }

    func delete(workspace: WorkspaceID, number: Int) async throws {
        try state.withLockedValue { state in
            guard state.living[workspace] == nil else { throw AppError(.conflict, "it runs") }
            state.log.append("delete \(number)")
            state.files.remove(workspace)
        }
    }

    func status(workspace: WorkspaceID, number: Int) async throws -> SandboxRecord? {
        state.withLockedValue { $0.living[workspace] }
    }
    func adopt(_ record: SandboxRecord, limits: SandboxLimits) async throws -> Bool {
        state.withLockedValue { state in
            state.log.append("adopt \(record.number)")
            return state.living[record.workspace] == record
        }
    }
    func usage(_ record: SandboxRecord) async throws -> SandboxUsage { throw AppError(.internal, "nobody measures here") }

    func log(workspace: WorkspaceID, number: Int) async throws -> String {
        state.withLockedValue { $0.files.contains(workspace) || $0.startError != nil ? "bwrap: words of \(number)\n" : "" }
    }

    func end(_ workspace: WorkspaceID, _ cause: SandboxDeath.Cause, _ message: String, sandbox: String? = nil) {
        let record = state.withLockedValue { state -> SandboxRecord? in
            guard let record = state.living[workspace], sandbox == nil || record.sandboxID == sandbox else { return nil }
            state.living[workspace] = nil
            state.log.append("stop \(record.number)")
            return record
        }
        guard let record else { return }
        tellDeath.yield(
            .init(workspace: workspace, number: record.number, sandboxID: record.sandboxID, cause: cause, message: message))
    }

    /// Dies without anybody being told: the server was away.
    func dieSilently(_ workspace: WorkspaceID) { state.withLockedValue { _ = $0.living.removeValue(forKey: workspace) } }

    func hold() { state.withLockedValue { $0.gate = [] } }
    func release() {
        let held = state.withLockedValue { state in
            defer { state.gate = nil }
            return state.gate ?? []
        }
        for continuation in held { continuation.resume() }
    }
}

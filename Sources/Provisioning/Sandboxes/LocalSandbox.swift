import CShims
import Core
import Foundation
import Glibc
import Logging
import NIOConcurrencyHelpers

/// Workspaces as sandboxes on this host: two nested bubblewraps each, made by the launcher, outliving the server.
///
/// Root mode (the launcher was started by root): every workspace has host uids of its own. Else all have the server's.
package final class LocalSandbox: Sendable {
    package let configuration: SandboxConfiguration
    let launcher: Launcher
    let logger: Logger
    /// BASE, only to ask for its file system's free space: it may be another user's.
    private let base: Int32
    private let deaths = DeathWatch()
    private let living = NIOLockedValueBox<[HostProcess: Living]>([:])

    private struct Living {
        var record: SandboxRecord
        var limits: SandboxLimits?
        /// Why it is being killed, once it is.
        var verdict: (SandboxDeath.Cause, String)?
    }

    /// Makes BASE where it is missing, and starts the launcher.
    /// - Throws: `unavailable` saying which program is missing and how to get it, or why the launcher refuses its options.
    package static func open(
        _ configuration: SandboxConfiguration, logger: Logger, onLauncherEnd: @escaping @Sendable () -> Void = {}
    ) async throws -> LocalSandbox {
        try checkPrograms(configuration)
        try makeBase(configuration)
        let launcher = try await Launcher.start(configuration, logger: logger, onEnd: onLauncherEnd)
        return LocalSandbox(configuration: configuration, launcher: launcher, logger: logger)
    }

    /// With a launcher that runs already and made BASE.
    static func open(
        _ configuration: SandboxConfiguration, launcher socket: Int32, logger: Logger, onLauncherEnd: @escaping @Sendable () -> Void
    ) throws -> LocalSandbox {
        try checkPrograms(configuration)
        let launcher = Launcher.shared(socket, logger: logger, onEnd: onLauncherEnd)
        return LocalSandbox(configuration: configuration, launcher: launcher, logger: logger)
    }

    static func makeBase(_ configuration: SandboxConfiguration) throws {
        do {
            // Neutral and searchable: agents of other uids pass through it by name only.
            try FileManager.default.createDirectory(
                atPath: configuration.base, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
        } catch {
            throw AppError(
                .unavailable, "The sandboxes' directory \(configuration.base) cannot be made.", field: "data-dir", cause: error)
        }
    }

    private init(configuration: SandboxConfiguration, launcher: Launcher, logger: Logger) {
        base = slipway_open_path(configuration.base)
        self.configuration = configuration
        self.launcher = launcher
        self.logger = logger
    }

    deinit { Glibc.close(base) }

    /// Ends the launcher; sandboxes run on.
    package func close() { launcher.close() }

    // MARK: Start

    /// Starts a workspace's sandbox and returns when its zone serves: commands can be started as soon as its agent connects.
    ///
    /// - Throws: `conflict` when it runs already or the number is another workspace's, `unavailable` when the disk is nearly full
    ///   or the sandbox cannot be made, `badRequest` for a bad specification.
    package func start(_ spec: SandboxSpec) async throws -> SandboxRecord {
        try spec.check()
        try checkFreeSpace()
        let sandboxID = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        let sandbox: LauncherReply.Sandbox
        do {
            sandbox = try await launcher.call(.start(spec, sandboxID: sandboxID)).sandbox()
        } catch let failure as LauncherReply.Failure {
            throw startError(failure, number: spec.number)
        }
        let record = record(of: sandbox, workspace: spec.workspace, number: spec.number)
        living.withLockedValue { $0[sandbox.process] = Living(record: record, limits: spec.limits) }
        return record
    }

    private func record(of sandbox: LauncherReply.Sandbox, workspace: WorkspaceID, number: Int) -> SandboxRecord {
        SandboxRecord(
            workspace: workspace, number: number, childPID: sandbox.process.pid, startTime: sandbox.process.startTime,
            bootID: HostProcess.bootID(), sandboxID: sandbox.sandboxID,
            isolation: SandboxIsolation(
                sandbox.obtained, number: number, firstUID: configuration.firstUID, ownUID: geteuid()))
    }

    /// - Throws: `unavailable` with both numbers when less than the floor is free.
    package func checkFreeSpace() throws {
        var info = statvfs()
        guard fstatvfs(base, &info) == 0 else {
            throw AppError(
                .unavailable, "The free space where workspaces live cannot be told.", detail: String(cString: strerror(errno)))
        }
        let free = UInt64(info.f_bavail) * UInt64(info.f_frsize)
        guard free < configuration.freeSpaceFloor else { return }
        throw AppError(
            .unavailable,
            "Only \(Watchdog.words(free)) are free where workspaces live; \(Watchdog.words(configuration.freeSpaceFloor)) must be. "
                + "Delete workspaces or make room, then try again.",
            detail: configuration.base, retry: .after(.seconds(60)))
    }

    private func startError(_ failure: LauncherReply.Failure, number: Int) -> AppError {
        switch failure.code {
        case EBUSY:
            AppError(.conflict, "The workspace's sandbox is running already.", detail: failure.reason, retry: .after(.seconds(1)))
        case EEXIST: AppError(.conflict, "Place \(number) on this host belongs to another workspace.", detail: failure.reason)
        default: explain(failure, log: "\(configuration.base)/ws/\(number)/state/log")
        }
    }

    // MARK: Found again

    /// Whether the sandbox of an earlier server lives; if so it is watched again as one's own.
    /// Give the limits it was started with: they are what the watchdog holds it to.
    package func adopt(_ record: SandboxRecord, limits: SandboxLimits? = nil) async -> Bool {
        guard isAlive(record) else { return false }
        living.withLockedValue { $0[record.process] = Living(record: record, limits: limits) }
        return true
    }

    /// The sandbox that runs in a place now, from the launcher's own notes: for when a record was lost with its server.
    package func running(workspace: WorkspaceID, number: Int) async throws -> SandboxRecord? {
        do {
            let sandbox = try await launcher.call(.status(number: number)).sandbox()
            guard sandbox.workspace == workspace, sandbox.process.isAlive else { return nil }
            return record(of: sandbox, workspace: workspace, number: number)
        } catch let failure as LauncherReply.Failure where failure.code == ESRCH || failure.code == ENOENT {
            return nil
        }
    }

    /// The end of what the sandbox's own programs wrote (bubblewrap, keeper, agent), at most 32 KiB; empty when nothing was started
    /// in this place yet.
    package func log(workspace: WorkspaceID, number: Int) async throws -> String {
        do {
            return try await launcher.call(.log(number: number, workspace)).text()
        } catch let failure as LauncherReply.Failure where failure.code == ENOENT || failure.code == EEXIST {
            return ""
        } catch let failure as LauncherReply.Failure {
            throw actionError(failure, "looked into")
        }
    }

    package func isAlive(_ record: SandboxRecord) -> Bool {
        record.bootID == HostProcess.bootID() && record.process.isAlive
    }

    /// Returns when the sandbox has ended: at once if it has. Cancellation returns, too.
    package func onDeath(_ record: SandboxRecord) async -> SandboxDeath {
        if record.bootID == HostProcess.bootID() { await deaths.end(of: record.process) }
        let verdict = living.withLockedValue { $0[record.process]?.verdict }
        if !Task.isCancelled { living.withLockedValue { $0[record.process] = nil } }
        return SandboxDeath(
            workspace: record.workspace, number: record.number, sandboxID: record.sandboxID, cause: verdict?.0 ?? .ended,
            message: verdict?.1 ?? "The workspace's sandbox ended by itself.")
    }

    // MARK: Stop, freeze, remove

    /// Ends every process of the sandbox and returns when they have ended; not an error when they had.
    package func kill(_ record: SandboxRecord) async throws {
        try await kill(record, as: (.stopped, "The workspace was stopped."))
    }

    private func kill(_ record: SandboxRecord, as verdict: (SandboxDeath.Cause, String)) async throws {
        guard record.bootID == HostProcess.bootID() else { return }
        living.withLockedValue { living in
            if living[record.process] != nil, living[record.process]?.verdict == nil { living[record.process]?.verdict = verdict }
        }
        try await perform(.kill(number: record.number, record.process), "stopped")
    }

    package func freeze(_ record: SandboxRecord) async throws {
        try await perform(.freeze(number: record.number, record.process), "frozen")
    }
    package func thaw(_ record: SandboxRecord) async throws {
        try await perform(.thaw(number: record.number, record.process), "thawed")
    }

    /// Deletes a stopped workspace's files and its place. Not an error when that was done before.
    package func remove(workspace: WorkspaceID, number: Int) async throws {
        try await perform(.remove(number: number, workspace), "removed")
    }

    /// - Throws: `unavailable` where no cgroup holds the sandbox.
    package func setLimits(_ record: SandboxRecord, _ limits: SandboxLimits) async throws {
        try limits.check()
        try await perform(.limits(number: record.number, record.process, limits), "given new limits")
        living.withLockedValue { $0[record.process]?.limits = limits }
    }

    package func usage(_ record: SandboxRecord) async throws -> SandboxUsage {
        do {
            return try await launcher.call(.usage(number: record.number, record.process)).usage()
        } catch let failure as LauncherReply.Failure {
            throw actionError(failure, "measured")
        }
    }

    private func perform(_ request: LauncherRequest, _ what: String) async throws {
        do {
            try await launcher.call(request).check()
        } catch let failure as LauncherReply.Failure {
            throw actionError(failure, what)
        }
    }

    private func actionError(_ failure: LauncherReply.Failure, _ what: String) -> AppError {
        switch failure.code {
        case ESRCH: AppError(.notFound, "The workspace's sandbox is not running.", detail: failure.reason)
        case EBUSY:
            AppError(.conflict, "The workspace cannot be \(what) while its sandbox runs. Stop it first.", detail: failure.reason)
        case EEXIST, EPERM:
            AppError(.conflict, "The workspace cannot be \(what): its place belongs to another.", detail: failure.reason)
        default: AppError(.unavailable, "The workspace cannot be \(what): \(failure.reason).", retry: .after(.seconds(1)))
        }
    }

    // MARK: Watchdog

    /// Looks after sandboxes until cancelled: stops those that pass a limit which the kernel does not hold.
    package func run() async {
        while (try? await Task.sleep(for: .seconds(configuration.watchdogInterval))) != nil {
            await inspect()
        }
    }

    /// One look at every sandbox that was started or adopted here.
    package func inspect() async {
        for one in living.withLockedValue({ Array($0.values) }) {
            guard let limits = one.limits, one.verdict == nil, let usage = try? await usage(one.record) else { continue }
            guard let verdict = Watchdog.verdict(on: usage, limits: limits, limitsMemory: one.record.isolation.limitsMemory) else {
                continue
            }
            logger.warning(
                "a sandbox passed a limit", metadata: ["workspace": "\(one.record.workspace)", "reason": "\(verdict.1)"])
            do {
                try await kill(one.record, as: verdict)
            } catch {
                logger.error("a sandbox over its limit could not be stopped", metadata: ["error": "\(error)"])
            }
        }
    }
}

extension SandboxRecord {
    var process: HostProcess { HostProcess(pid: childPID, startTime: startTime) }
}

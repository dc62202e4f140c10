import Core
import Foundation
import Logging
import Provisioning

/// What a build does on this machine. Each step may be done again: a worker that died leaves no more than a sandbox, which is found.
struct BuildRunner: Sendable {
    let provisioner: any Provisioner
    let sessions: AgentSessions
    let logger: Logger

    func run(_ job: ClaimedJob) async -> (outcome: JobOutcome, log: [LogLine]) {
        let stage =
            switch job.transition {
            case .start: "Starting workspace"
            case .stop: "Stopping workspace"
            case .delete: "Deleting workspace"
            }
        var log: [LogLine] = []
        func note(_ text: String, _ level: LogLine.Level = .info) {
            log += LogLine.lines(text, at: Date(), source: .server, level: level, stage: stage)
        }
        note("Build \(job.number)\(job.attempt > 1 ? ", attempt \(job.attempt): the server that had it before fell silent" : "").")
        let began = ContinuousClock.now
        do {
            let outcome: JobOutcome
            switch job.transition {
            case .start:
                let record = try await start(job)
                let isolation = record.isolation
                note(
                    """
                    The sandbox runs: uids \(isolation.uids); memory \(isolation.memory); processes \(isolation.processes); cpu \(isolation.cpu); \
                    quota \(isolation.quota); home \(isolation.home).
                    """)
                outcome = .started(record)
            case .stop:
                try await stop(job)
                outcome = .stopped
            case .delete:
                try await stop(job)
                try await provisioner.delete(workspace: job.workspace, number: job.place)
                outcome = .deleted
            }
            note("Done in \(Int((ContinuousClock.now - began) / .milliseconds(1))) ms.")
            return (outcome, log)
        } catch {
            logger.warning(
                "a workspace build failed",
                metadata: ["workspace": "\(job.workspace)", "transition": "\(job.transition.rawValue)", "error": "\(error)"])
            let message = (error as? AppError)?.message ?? "The server failed at this. Its log says more."
            note(message, .error)
            return (.failed(job.transition, message: message), log + (await sandboxLog(job)))
        }
    }

    /// What bubblewrap and the sandbox's own programs said; not what the workload did.
    private func sandboxLog(_ job: ClaimedJob) async -> [LogLine] {
        guard let text = try? await provisioner.log(workspace: job.workspace, number: job.place) else { return [] }
        return Array(LogLine.lines(text, at: Date(), source: .provisioner, stage: "Sandbox").suffix(100))
    }

    private func start(_ job: ClaimedJob) async throws -> SandboxRecord {
        let spec = SandboxSpec(workspace: job.workspace, number: job.place, limits: job.limits, token: job.token.text)
        // What an earlier start left does not know this token.
        if job.attempt > 1 || job.number > 1 { try await stop(job) }
        do {
            return try await provisioner.start(spec)
        } catch let error as AppError where error.code == .conflict && job.attempt == 1 && job.number == 1 {
            try await stop(job)
            return try await provisioner.start(spec)
        }
    }

    private func stop(_ job: ClaimedJob) async throws {
        sessions.disconnect(job.workspace)
        if let record = job.sandbox { try await provisioner.stop(record) }
        // The launcher's own notes know a sandbox whose record was lost with its server.
        if let record = try await provisioner.status(workspace: job.workspace, number: job.place) {
            try await provisioner.stop(record)
        }
    }
}

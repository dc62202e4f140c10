import Core
import Logging
import Provisioning

/// What a build does on this machine. Each step may be done again: a worker that died leaves no more than a sandbox, which is found.
struct BuildRunner: Sendable {
    let provisioner: any Provisioner
    let sessions: AgentSessions
    let logger: Logger

    func run(_ job: ClaimedJob) async -> JobOutcome {
        do {
            switch job.transition {
            case .start: return .started(try await start(job))
            case .stop:
                try await stop(job)
                return .stopped
            case .delete:
                try await stop(job)
                try await provisioner.delete(workspace: job.workspace, number: job.place)
                return .deleted
            }
        } catch {
            logger.warning(
                "a workspace build failed",
                metadata: ["workspace": "\(job.workspace)", "transition": "\(job.transition.rawValue)", "error": "\(error)"])
            let message = (error as? AppError)?.message ?? "The server failed at this. Its log says more."
            return .failed(job.transition, message: message)
        }
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

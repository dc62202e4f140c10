import Core

/// How a build moves a workspace.
package enum Transition: String, Sendable, CaseIterable { case start, stop, delete }

/// The state of a provisioner job, as the database computes it.
package enum JobStatus: String, Sendable, CaseIterable {
    case pending, running, succeeded, failed

    var isOver: Bool { self == .succeeded || self == .failed }
}

/// What a workspace is for the people who look at it; the names are part of the API.
package enum WorkspaceStatus: String, Sendable, CaseIterable {
    case pending, starting, running, stopping, stopped, failed, deleting, deleted, unreachable
}

/// How a sandbox ended.
package enum SandboxEnd: String, Sendable, CaseIterable {
    /// By itself.
    case ended
    /// On request.
    case stopped
    case memory, disk
    case hostRestarted = "host_restarted"
}

/// What is known about a workspace, and what follows: its status, the reason for it, and what may be done next.
package struct WorkspaceLifecycle: Sendable, Equatable {
    package struct Build: Sendable, Equatable {
        package var number: Int
        package var transition: Transition
        package var job: JobStatus
        /// Why the job failed.
        package var error: String?
        package var end: SandboxEnd?
        /// Why the sandbox ended.
        package var endMessage: String?

        package init(
            number: Int, transition: Transition, job: JobStatus, error: String? = nil, end: SandboxEnd? = nil,
            endMessage: String? = nil
        ) {
            self.number = number
            self.transition = transition
            self.job = job
            self.error = error
            self.end = end
            self.endMessage = endMessage
        }
    }

    /// The latest one: earlier builds say nothing about what is now.
    package var build: Build
    package var isDeleted: Bool
    package var isHostReachable: Bool

    package init(build: Build, isDeleted: Bool = false, isHostReachable: Bool = true) {
        self.build = build
        self.isDeleted = isDeleted
        self.isHostReachable = isHostReachable
    }

    /// Without regard to whether its host answers.
    private var settledStatus: WorkspaceStatus {
        if isDeleted { return .deleted }
        switch (build.transition, build.job) {
        case (.start, .pending): return .pending
        case (.start, .running): return .starting
        case (.start, .succeeded):
            switch build.end {
            case nil: return .running
            case .ended: return .failed
            case .stopped, .memory, .disk, .hostRestarted: return .stopped
            }
        case (.stop, .pending), (.stop, .running): return .stopping
        case (.stop, .succeeded): return .stopped
        case (.delete, .pending), (.delete, .running): return .deleting
        case (.delete, .succeeded): return .deleted
        case (_, .failed): return .failed
        }
    }

    package var status: WorkspaceStatus {
        let status = settledStatus
        switch status {
        case .pending, .starting, .running, .stopping, .deleting: return isHostReachable ? status : .unreachable
        case .stopped, .failed, .deleted, .unreachable: return status
        }
    }

    /// Why it is not as one would want it; nil when all is well.
    package var reason: String? {
        switch status {
        case .unreachable: "The machine of this workspace is not connected. It goes on where it was when the machine is back."
        case .failed where build.job == .failed: build.error
        case .failed, .stopped: build.end == .stopped ? nil : build.endMessage
        case .pending, .starting, .running, .stopping, .deleting, .deleted: nil
        }
    }

    package enum Decision: Sendable, Equatable {
        /// Make the next build.
        case build
        /// It is so, or on its way there.
        case already
        /// A build is under way that has to end first.
        case wait
        case refuse(code: AppError.Code, String)
    }

    /// What to do when somebody asks for a transition.
    package func decide(_ wanted: Transition) -> Decision {
        if settledStatus == .deleted { return wanted == .delete ? .already : .refuse(code: .notFound, "The workspace is deleted.") }
        if !build.job.isOver { return build.transition == wanted ? .already : .wait }
        switch (wanted, settledStatus) {
        case (.start, .running): return .already
        case (.start, .failed) where build.transition == .delete:
            return .refuse(code: .conflict, "The workspace could be deleted only in part. Delete it again.")
        case (.start, _): return .build
        case (.stop, .stopped): return .already
        case (.stop, .failed) where build.transition == .delete:
            return .refuse(code: .conflict, "The workspace could be deleted only in part. Delete it again.")
        case (.stop, _), (.delete, _): return .build
        }
    }
}

import Core
import Foundation

/// A sandbox that was started: enough to find it again after the server, and to know that it is this one and no other.
package struct SandboxRecord: Codable, Sendable, Hashable {
    package var workspace: WorkspaceID
    package var number: Int
    /// Process id, on the host, of the sandbox's first process.
    package var childPID: Int32
    /// When it started, in clock ticks since the host's boot; with the pid it names one process for ever.
    package var startTime: UInt64
    /// The host's boot id.
    package var bootID: String
    /// 32 hexadecimal digits, random for each start: the boot id that the agent's journal knows.
    package var sandboxID: String
    package var isolation: SandboxIsolation
}

/// What separates and limits a sandbox, as it was obtained at its start. Words for people; nothing decides by them.
package struct SandboxIsolation: Codable, Sendable, Hashable {
    /// `own (1900000006 agent, 1900000007 workload)` or `shared with the server (1000)`.
    package var uids: String
    /// `cgroup v2`, `cgroup v1`, or what stands in for it.
    package var memory: String
    package var processes: String
    package var cpu: String
    package var freezer: String
    package var quota: String
    package var home: String
}

extension SandboxIsolation {
    /// Bits as the launcher reports them (`verbs.h`).
    struct Obtained: OptionSet {
        let rawValue: UInt32
        static let ownUIDs = Obtained(rawValue: 1)
        static let memory = Obtained(rawValue: 2)
        static let processes = Obtained(rawValue: 4)
        static let cpu = Obtained(rawValue: 8)
        static let freezer = Obtained(rawValue: 16)
        static let cgroupKill = Obtained(rawValue: 32)
        static let overlay = Obtained(rawValue: 64)
        static let idmapped = Obtained(rawValue: 128)
        static let cgroupV2 = Obtained(rawValue: 256)
    }

    init(_ obtained: Obtained, number: Int, firstUID: UInt32, ownUID: UInt32) {
        let agent = firstUID + 2 * UInt32(number)
        let cgroup = obtained.contains(.cgroupV2) ? "cgroup v2" : "cgroup v1"
        uids =
            obtained.contains(.ownUIDs) ? "own (\(agent) agent, \(agent + 1) workload)" : "shared with the server (\(ownUID))"
        memory = obtained.contains(.memory) ? cgroup : "none: 2 GiB of data per process, watchdog for the whole"
        processes = obtained.contains(.processes) ? cgroup : "RLIMIT_NPROC"
        cpu = obtained.contains(.cpu) ? cgroup : "none"
        freezer = obtained.contains(.freezer) ? "cgroup" : "signals"
        quota = "none: watchdog"
        home = obtained.contains(.idmapped) ? "overlay, mapped ids" : "overlay"
    }

    /// Whether the kernel itself holds the sandbox to its memory; otherwise the watchdog does.
    package var limitsMemory: Bool { memory.hasPrefix("cgroup") }
}

/// What a sandbox uses now.
package struct SandboxUsage: Codable, Sendable, Equatable {
    package var memoryBytes: UInt64
    package var processes: UInt32
    /// What the home and the agent's files take; `UInt64.max` when the tree is built so that it cannot be measured.
    package var diskBytes: UInt64
    package var files: UInt64
}

/// Why a sandbox is no more.
package struct SandboxDeath: Codable, Sendable, Equatable {
    package enum Cause: String, Codable, Sendable {
        /// By itself: the agent was done, or the zone or the keeper was killed.
        case ended
        /// On request.
        case stopped
        case memory
        case disk
    }

    package var workspace: WorkspaceID
    package var number: Int
    package var sandboxID: String
    package var cause: Cause
    /// A sentence for the workspace's owner.
    package var message: String
}

import FoundationEssentials

/// One command to run in the workspace. It is started at most once per `id`, however often it is asked for.
package struct ProcessStart: Codable, Sendable, Hashable {
    package var id: String
    package var fence: Fence
    /// Program and arguments; the program is looked up in PATH.
    package var command: [String]
    /// Relative to the workspace's home, or absolute; nil is the home.
    package var directory: String?
    /// Laid over the workspace's own environment.
    package var environment: [String: String]
    /// What the command reads from its standard input, at most 1 MiB; nil is an empty input.
    package var stdin: Data?
    /// The sandbox in which this call was first asked for, if the caller keeps that on record: in any other the call is `unknown`
    /// unless its end is known. Without it the agent waits for its own disk before it begins, so that it remembers by itself.
    package var sandbox: String?

    package init(
        id: String, fence: Fence, command: [String], directory: String? = nil, environment: [String: String] = [:],
        stdin: Data? = nil, sandbox: String? = nil
    ) {
        (self.id, self.fence, self.command) = (id, fence, command)
        (self.directory, self.environment, self.stdin, self.sandbox) = (directory, environment, stdin, sandbox)
    }

    /// A line for bash.
    package init(
        id: String, fence: Fence, shell line: String, directory: String? = nil, environment: [String: String] = [:],
        stdin: Data? = nil, sandbox: String? = nil
    ) {
        self.init(
            id: id, fence: fence, command: ["/bin/bash", "-c", line], directory: directory, environment: environment, stdin: stdin,
            sandbox: sandbox)
    }
}

package enum ProcessState: Sendable, Hashable {
    case running
    case exited(Int32)
    case signaled(Int32)
    /// It was begun in an earlier life of the sandbox, and how it ended cannot be known. It is never begun again.
    case unknown
    /// Nothing of it ran, and why.
    case refused(String)

    package var isRunning: Bool { self == .running }
}

package struct ProcessStatus: Codable, Sendable, Hashable {
    package var id: String
    package var state: ProcessState
    /// In the workspace's own numbering.
    package var pid: Int32?
    package var startedAt: Date
    package var endedAt: Date?
    /// How much it wrote so far, to standard output and standard error together.
    package var outputBytes: Int64
    /// False once no more output can come; a child left in the background keeps it true after the end.
    package var outputOpen: Bool
    package var cpuMicroseconds: Int64?
    package var peakMemoryKiB: Int64?

    package init(
        id: String, state: ProcessState, pid: Int32? = nil, startedAt: Date, endedAt: Date? = nil, outputBytes: Int64 = 0,
        outputOpen: Bool = false, cpuMicroseconds: Int64? = nil, peakMemoryKiB: Int64? = nil
    ) {
        (self.id, self.state, self.pid, self.startedAt, self.endedAt) = (id, state, pid, startedAt, endedAt)
        (self.outputBytes, self.outputOpen) = (outputBytes, outputOpen)
        (self.cpuMicroseconds, self.peakMemoryKiB) = (cpuMicroseconds, peakMemoryKiB)
    }
}

/// A piece of a process's output.
package struct ProcessOutput: Codable, Sendable, Hashable {
    package var status: ProcessStatus
    package var data: Data
    /// Where to read on: the position after `data`.
    package var cursor: Int64
    /// How many bytes between the place asked for and `data` are no longer kept.
    package var truncatedBefore: Int64

    package init(status: ProcessStatus, data: Data, cursor: Int64, truncatedBefore: Int64 = 0) {
        (self.status, self.data, self.cursor, self.truncatedBefore) = (status, data, cursor, truncatedBefore)
    }

    /// True when the process ended and everything it wrote itself was read.
    package var isComplete: Bool { !status.state.isRunning && cursor >= status.outputBytes }
}

/// Where to begin reading output.
package enum OutputPosition: Sendable, Hashable {
    case cursor(Int64)
    /// The last so many bytes.
    case tail(Int64)
}

/// What a reader of output waits for.
package enum OutputWait: String, Sendable, Hashable {
    /// Anything new, or the end.
    case output
    /// The end, however much is written until then.
    case exit
}

package struct ProcessSignal: Codable, Sendable {
    package enum Target: String, Codable, Sendable {
        case leader, group
        /// Every job of the command, also those in groups of their own.
        case session
    }

    package var signal: Int32
    package var fence: Fence
    package var target: Target
    /// Sent at most once per call id; without one, each time it is asked for.
    package var call: String?

    package init(signal: Int32, fence: Fence, target: Target = .group, call: String? = nil) {
        (self.signal, self.fence, self.target, self.call) = (signal, fence, target, call)
    }
}

extension ProcessState: Codable {
    private enum Key: String, CodingKey { case kind, code, signal, reason }
    private enum Kind: String, Codable { case running, exited, signaled, unknown, refused }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        switch try container.decode(Kind.self, forKey: .kind) {
        case .running: self = .running
        case .exited: self = .exited(try container.decode(Int32.self, forKey: .code))
        case .signaled: self = .signaled(try container.decode(Int32.self, forKey: .signal))
        case .unknown: self = .unknown
        case .refused: self = .refused(try container.decode(String.self, forKey: .reason))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        switch self {
        case .running: try container.encode(Kind.running, forKey: .kind)
        case .exited(let code):
            try container.encode(Kind.exited, forKey: .kind)
            try container.encode(code, forKey: .code)
        case .signaled(let signal):
            try container.encode(Kind.signaled, forKey: .kind)
            try container.encode(signal, forKey: .signal)
        case .unknown: try container.encode(Kind.unknown, forKey: .kind)
        case .refused(let reason):
            try container.encode(Kind.refused, forKey: .kind)
            try container.encode(reason, forKey: .reason)
        }
    }
}

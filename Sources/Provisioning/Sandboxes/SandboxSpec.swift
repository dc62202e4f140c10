import Core
import Foundation

/// What a sandbox may use. Where the machine cannot enforce a limit, a watchdog stops the sandbox that passes it.
package struct SandboxLimits: Codable, Sendable, Equatable {
    /// 64 MiB…1 PiB.
    package var memoryBytes: UInt64
    /// 32…1,048,576.
    package var processes: UInt32
    /// 100 is one processor; 1…100,000.
    package var cpuPercent: UInt32
    package var diskBytes: UInt64

    package init(
        memoryBytes: UInt64 = 2 << 30, processes: UInt32 = 512, cpuPercent: UInt32 = 200, diskBytes: UInt64 = 10 << 30
    ) {
        self.memoryBytes = memoryBytes
        self.processes = processes
        self.cpuPercent = cpuPercent
        self.diskBytes = diskBytes
    }

    /// - Throws: `badRequest` naming the limit that is out of range.
    package func check() throws {
        guard memoryBytes >= 64 << 20, memoryBytes <= 1 << 50 else {
            throw AppError(
                .badRequest, "memory is \(memoryBytes) bytes; it must be from 64 MiB to 1 PiB.", field: "limits.memory_bytes")
        }
        guard (32...1 << 20).contains(processes) else {
            throw AppError(.badRequest, "processes is \(processes); it must be from 32 to 1048576.", field: "limits.processes")
        }
        guard (1...100_000).contains(cpuPercent) else {
            throw AppError(.badRequest, "cpu is \(cpuPercent) percent; it must be from 1 to 100000.", field: "limits.cpu_percent")
        }
    }
}

/// A sandbox to start.
package struct SandboxSpec: Sendable {
    package var workspace: WorkspaceID
    /// The workspace's place on this host, 1…65,535: the same for the whole life of the workspace, no other's meanwhile.
    package var number: Int
    package var limits: SandboxLimits
    /// The agent's token: 1…512 printable ASCII characters without spaces.
    package var token: Secret<String>

    package init(workspace: WorkspaceID, number: Int, limits: SandboxLimits = .init(), token: Secret<String>) {
        self.workspace = workspace
        self.number = number
        self.limits = limits
        self.token = token
    }

    /// - Throws: `badRequest` naming what is out of range.
    package func check() throws {
        guard (1...65535).contains(number) else {
            throw AppError(.badRequest, "number is \(number); it must be from 1 to 65535.", field: "number")
        }
        let text = token.reveal().utf8
        guard (1...512).contains(text.count), text.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw AppError(.badRequest, "The agent's token must be 1 to 512 printable characters without spaces.", field: "token")
        }
        try limits.check()
    }
}

extension SandboxSpec: Codable {
    private enum CodingKeys: String, CodingKey { case workspace, number, limits, token }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            workspace: try values.decode(WorkspaceID.self, forKey: .workspace),
            number: try values.decode(Int.self, forKey: .number),
            limits: try values.decode(SandboxLimits.self, forKey: .limits),
            token: Secret(try values.decode(String.self, forKey: .token)))
    }

    /// Writes the token out: encode it only for the pipe to the provisioner.
    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(workspace, forKey: .workspace)
        try values.encode(number, forKey: .number)
        try values.encode(limits, forKey: .limits)
        try values.encode(token.reveal(), forKey: .token)
    }
}

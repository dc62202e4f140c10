import Gateway
import Provisioning

/// Servers of tools that are programs, in sandboxes of this host.
struct ToolPrograms: ToolProgramStarter {
    let sandboxes: SandboxConfiguration

    func start(
        _ command: [String], environment: [String: String], onLine: @escaping @Sendable (String) -> Void,
        onEnd: @escaping @Sendable () -> Void
    ) throws -> any ToolProgram {
        try SandboxedProgram.start(
            ProgramSpec(command: command, environment: environment), sandboxes, onLine: onLine, onEnd: onEnd)
    }
}

extension SandboxedProgram: ToolProgram {}

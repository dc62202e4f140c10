import Foundation

/// The server of tools that documents try things out with.
struct ToolServer {
    let url: String
    private let process: Process

    struct Failed: Error {}

    static func start() throws -> ToolServer {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
        process.arguments = [Repository.root + "/Tests/clients/tools.py"]
        process.standardInput = FileHandle.nullDevice
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        // Its first words are its address.
        let text = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        guard text.hasPrefix("http://") else {
            kill(process.processIdentifier, SIGKILL)
            throw Failed()
        }
        return ToolServer(url: text.trimmingCharacters(in: .whitespacesAndNewlines), process: process)
    }

    func stop() {
        // It may have been started with SIGTERM blocked, as threads of this process have it.
        kill(process.processIdentifier, SIGKILL)
    }
}

import ArgumentParser
import Foundation

/// Becomes `slipway-server`, which lies beside this program.
struct ServerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "server", abstract: "Run the server (all options are slipway-server's; see 'slipway server --help').")

    @Argument(parsing: .captureForPassthrough, help: .hidden)
    var arguments: [String] = []

    func run() async throws {
        guard let own = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            throw Failure(.failed, "/proc is not mounted: the server cannot be found.").report()
        }
        let server = URL(fileURLWithPath: own).deletingLastPathComponent().appending(path: "slipway-server").path
        let words = [server] + arguments
        var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        execv(server, &pointers)
        throw Failure(.failed, "\(server) could not be started: \(String(cString: strerror(errno))).").report()
    }
}

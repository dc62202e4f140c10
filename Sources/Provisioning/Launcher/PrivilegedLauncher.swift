import Core
import Foundation
import Glibc

/// The launcher of a server that gives root up: started while it is root, ending with it, spoken to by whichever provisioner daemon
/// runs. It takes numbers and a token, never a path: where sandboxes lie and what they are made of is fixed when it starts.
package final class PrivilegedLauncher: Sendable {
    /// The daemon's descriptor for it, and the word that tells the daemon so.
    static let descriptor: Int32 = 4
    static let word = "launcher-on-4"

    /// Ours; 10 or more.
    let socket: Int32

    /// Makes BASE where it is missing. Blocks until the launcher has checked its options; starts no thread.
    /// - Throws: `unavailable` saying what is missing, that the launcher refused, or that it is of another build.
    package static func start(_ configuration: SandboxConfiguration) throws -> PrivilegedLauncher {
        try LocalSandbox.checkPrograms(configuration)
        try LocalSandbox.makeBase(configuration)
        let (pid, socket) = try ChildProcess.start(
            configuration.launcherPath, arguments: configuration.launcherArguments + ["--guarded"], environment: [:],
            kind: SOCK_SEQPACKET)
        defer { Glibc.close(socket) }
        var word = [UInt8](repeating: 0, count: 64)
        var count = 0
        repeat { count = recv(socket, &word, word.count, 0) } while count < 0 && errno == EINTR
        let high = count > 0 ? fcntl(socket, F_DUPFD_CLOEXEC, 10) : -1
        guard high >= 0 else {
            throw LauncherVersion.refusal(ChildProcess.reap(pid), of: configuration.launcherPath)
        }
        let launcher = PrivilegedLauncher(high)
        try LauncherVersion.check(LauncherReply(Array(word[..<count]))?.version ?? 0, of: configuration.launcherPath)
        return launcher
    }

    private init(_ socket: Int32) { self.socket = socket }

    deinit { Glibc.close(socket) }
}

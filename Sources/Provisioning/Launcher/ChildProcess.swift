import CShims
import Core
import Foundation
import Glibc

/// Starts a program of ours that talks over descriptor 3 and ends when its other end is closed.
enum ChildProcess {
    /// - Parameters:
    ///   - kind: `SOCK_SEQPACKET` or `SOCK_STREAM`.
    ///   - second: a descriptor of 10 or more that the program gets as 4.
    /// - Returns: the process and our end of its socket.
    static func start(
        _ path: String, arguments: [String], environment: [String: String], kind: __socket_type, second: Int32 = -1
    ) throws -> (pid: pid_t, socket: Int32) {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(kind.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw AppError(.unavailable, "No socket could be made for \(path).", detail: String(cString: strerror(errno)))
        }
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        let pid = slipway_spawn_with_socket(path, &argv, &envp, ends[1], second)
        close(ends[1])
        guard pid > 0 else {
            close(ends[0])
            throw AppError(.unavailable, "\(path) cannot be started: \(String(cString: strerror(-pid))).")
        }
        return (pid, ends[0])
    }

    /// Waits for a child that is ending.
    static func reap(_ pid: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        return status
    }
}

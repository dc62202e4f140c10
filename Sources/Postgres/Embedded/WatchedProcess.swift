import CShims
import Core
import Foundation
import NIOConcurrencyHelpers

/// A process whose end is noticed through a pidfd on the loop: a child of ours, or one found running.
final class WatchedProcess: Sendable {
    let pid: pid_t
    private let descriptor: Int32
    private let state = NIOLockedValueBox(State())

    private struct State {
        var status: Int32?
        var waiters: [Int: CheckedContinuation<Int32?, Never>] = [:]
        var count = 0
    }

    /// - Throws: `unavailable` when the program cannot be started, saying why.
    static func start(
        _ path: String, _ arguments: [String], directory: String, output: Int32, as user: SystemUser, seeing view: FolderView? = nil
    ) throws -> WatchedProcess {
        let pid = ([path] + arguments).withCStrings { arguments in
            ["PATH=/usr/bin:/bin", "LANG=C.UTF-8", "LC_ALL=C.UTF-8"].withCStrings { environment in
                slipway_spawn_session(
                    path, arguments, environment, directory, output, user.isOther ? user.uid : uid_t.max,
                    user.isOther ? user.gid : gid_t.max, view?.folder, view?.place)
            }
        }
        if pid == -EPERM, let view { throw view.refusal }
        guard pid > 0 else {
            throw AppError(.unavailable, "The program \(path) cannot be started: \(String(cString: strerror(-pid))).")
        }
        return try WatchedProcess(pid)
    }

    /// - Throws: `unavailable` when there is no such process.
    init(_ pid: pid_t) throws {
        self.pid = pid
        descriptor = slipway_pidfd_open(pid)
        guard descriptor >= 0 else { throw AppError(.unavailable, "There is no process \(pid).") }
        let descriptor = descriptor
        let state = state
        PostgresLoop.shared.submit {
            PostgresLoop.shared.watch(descriptor) {
                PostgresLoop.shared.unwatch(descriptor)
                close(descriptor)
                var status: Int32 = 0
                if waitpid(pid, &status, WNOHANG) != pid { status = 0 }
                let ending = status
                let waiters = state.withLockedValue { state in
                    defer { state.waiters = [:] }
                    state.status = ending
                    return Array(state.waiters.values)
                }
                for waiter in waiters { waiter.resume(returning: status) }
            }
        }
    }

    /// The wait status; nil while it runs. 0 for a process that is no child of ours.
    var status: Int32? { state.withLockedValue { $0.status } }

    /// The wait status once it has ended; nil when it still runs after `timeout`.
    @discardableResult
    func ended(within timeout: Duration? = nil) async -> Int32? {
        await withCheckedContinuation { continuation in
            let id: Int? = state.withLockedValue {
                guard $0.status == nil else { return nil }
                $0.count += 1
                $0.waiters[$0.count] = continuation
                return $0.count
            }
            guard let id else { return continuation.resume(returning: status) }
            guard let timeout else { return }
            PostgresLoop.shared.schedule(after: timeout) { [state] in
                state.withLockedValue { $0.waiters.removeValue(forKey: id) }?.resume(returning: nil)
            }
        }
    }

    func signal(_ number: Int32) { if status == nil { kill(pid, number) } }
}

extension [String] {
    fileprivate func withCStrings<Value>(_ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Value) -> Value {
        let copies: [UnsafeMutablePointer<CChar>?] = map { strdup($0) } + [nil]
        defer { for copy in copies { free(copy) } }
        return copies.withUnsafeBufferPointer { body($0.baseAddress!) }
    }
}

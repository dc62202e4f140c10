import CShims
import Foundation
import Glibc
import NIOConcurrencyHelpers

/// Tells when processes end, those of earlier servers too: pidfds on one epoll, one thread for all.
final class DeathWatch: Sendable {
    private struct Watched {
        var process: HostProcess
        var waiters: [UUID: CheckedContinuation<Void, Never>] = [:]
    }

    private let epoll: Int32
    private let watched = NIOLockedValueBox<[Int32: Watched]>([:])

    init() {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        precondition(epoll >= 0, "epoll_create1: \(String(cString: strerror(errno)))")
        let (epoll, watched) = (epoll, watched)
        // The thread ends with the process; it holds the two values alone, and there is one watch per process.
        Thread.detachNewThread { Self.loop(epoll, watched) }
    }

    /// Returns when the process has ended, at once if it has already or if the task is cancelled.
    func end(of process: HostProcess) async {
        let id = UUID()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let added = watched.withLockedValue { watched -> Bool in
                    if Task.isCancelled { return false }
                    if let known = watched.first(where: { $0.value.process == process })?.key {
                        watched[known]?.waiters[id] = continuation
                        return true
                    }
                    guard let descriptor = process.open() else { return false }
                    watched[descriptor] = Watched(process: process, waiters: [id: continuation])
                    var event = epoll_event(events: EPOLLIN.rawValue | EPOLLONESHOT.rawValue, data: .init(fd: descriptor))
                    guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
                        watched[descriptor] = nil
                        close(descriptor)
                        return false
                    }
                    return true
                }
                if !added { continuation.resume() }
            }
        } onCancel: {
            let waiter = watched.withLockedValue { watched -> CheckedContinuation<Void, Never>? in
                for descriptor in watched.keys {
                    if let waiter = watched[descriptor]?.waiters.removeValue(forKey: id) { return waiter }
                }
                return nil
            }
            waiter?.resume()
        }
    }

    private static func loop(_ epoll: Int32, _ watched: NIOLockedValueBox<[Int32: Watched]>) {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        while true {
            let count = epoll_wait(epoll, &events, Int32(events.count), -1)
            guard count > 0 else { continue }
            for event in events.prefix(Int(count)) {
                let descriptor = event.data.fd
                let ended = watched.withLockedValue { watched in
                    close(descriptor)  // under the lock: the number may be watched again the moment it is free
                    return watched.removeValue(forKey: descriptor)
                }
                for waiter in (ended?.waiters ?? [:]).values { waiter.resume() }
            }
        }
    }
}

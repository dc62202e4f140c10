import CPostgres
import Foundation
import NIOConcurrencyHelpers

/// The one thread that reads and writes all database connections of the process, on epoll.
///
/// Unchecked: `jobs` and `isWoken` are guarded by `lock`, everything else is touched on the thread only.
final class PostgresLoop: @unchecked Sendable {
    static let shared = PostgresLoop()

    private let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    private let wake = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
    private let lock = NIOLock()
    private var jobs: [@Sendable () -> Void] = []
    private var isWoken = false

    private var handlers: [Int32: () -> Void] = [:]
    /// By time. Those without a job were called off.
    private var timers: [Timer] = []
    private var timerJobs: [UInt64: () -> Void] = [:]
    private var timerCount: UInt64 = 0

    private struct Timer {
        var due: ContinuousClock.Instant
        var id: UInt64
    }

    private init() {
        control(EPOLL_CTL_ADD, wake, writable: false)
        let thread = Thread { [self] in run() }
        thread.name = "postgres"
        thread.start()
    }

    /// Runs `job` on the thread, after those submitted before it.
    func submit(_ job: @escaping @Sendable () -> Void) {
        let mustWake = lock.withLock {
            jobs.append(job)
            defer { isWoken = true }
            return !isWoken
        }
        if mustWake { eventfd_write(wake, 1) }
    }

    /// Any thread; the returned function calls the timer off.
    @discardableResult
    func schedule(after delay: Duration, _ job: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        let due = ContinuousClock.now + delay
        let id = lock.withLock {
            timerCount += 1
            return timerCount
        }
        submit { [self] in
            // Nearly always the last: most timers are for the same delay.
            let at = timers.lastIndex { $0.due <= due }.map { $0 + 1 } ?? 0
            timers.insert(.init(due: due, id: id), at: at)
            timerJobs[id] = job
        }
        return { [self] in submit { [self] in timerJobs[id] = nil } }
    }

    // On the thread:

    func watch(_ descriptor: Int32, _ handler: @escaping () -> Void) {
        handlers[descriptor] = handler
        control(EPOLL_CTL_ADD, descriptor, writable: false)
    }

    func setWritable(_ descriptor: Int32, _ writable: Bool) { control(EPOLL_CTL_MOD, descriptor, writable: writable) }

    func unwatch(_ descriptor: Int32) {
        handlers[descriptor] = nil
        epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil)
    }

    private func control(_ operation: Int32, _ descriptor: Int32, writable: Bool) {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue | (writable ? EPOLLOUT.rawValue : 0)
        event.data.fd = descriptor
        epoll_ctl(epoll, operation, descriptor, &event)
    }

    private func run() {
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: 128)
        while true {
            let count = epoll_wait(epoll, events, 128, timeout())
            for index in 0..<max(0, Int(count)) {
                let descriptor = events[index].data.fd
                if descriptor == wake {
                    var value: eventfd_t = 0
                    eventfd_read(wake, &value)
                } else {
                    handlers[descriptor]?()
                }
            }
            let due = lock.withLock {
                defer {
                    jobs = []
                    isWoken = false
                }
                return jobs
            }
            for job in due { job() }
            let now = ContinuousClock.now
            let over = timers.prefix { $0.due <= now }.map(\.id)
            timers.removeFirst(over.count)
            for id in over { timerJobs.removeValue(forKey: id)?() }
        }
    }

    /// Milliseconds until the next timer, rounded up; -1 without one.
    private func timeout() -> Int32 {
        guard let first = timers.first else { return -1 }
        let left = first.due - ContinuousClock.now
        guard left > .zero else { return 0 }
        let (seconds, attoseconds) = left.components
        return Int32(clamping: seconds * 1000 + attoseconds / 1_000_000_000_000_000 + 1)
    }
}

import CCurl
import Core
import Glibc
import NIOConcurrencyHelpers

/// One thread that runs transfers: `curl_multi_socket_action` over epoll.
///
/// curl's own `curl_multi_poll` looks at each open connection each time: 107 % CPU against 16 % at 5,000 open streams.
/// Other threads reach the driver through a queue of commands and one eventfd.
final class CurlDriver: @unchecked Sendable {
    enum Command {
        case start(Transfer)
        case cancel(Transfer)
        case resume(Transfer)
        case stop
    }

    private struct Queue {
        var commands: [Command] = []
        var isWakeUpPending = false
        var isStopped = false
        var waitingForEnd: [CheckedContinuation<Void, Never>] = []
        var hasEnded = false
    }

    private let queue = NIOLockedValueBox(Queue())
    private let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    private let wakeUp = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))

    // From here on: the driver's thread alone.
    let multi: UnsafeMutableRawPointer
    /// The time at which this turn began: one reading of the clock for all its transfers.
    private(set) var now = ContinuousClock.now
    private var live: [UnsafeMutableRawPointer: Transfer] = [:]
    private var idleHandles: [UnsafeMutableRawPointer] = []
    private var dirty: [Transfer] = []
    private var curlDeadline: ContinuousClock.Instant?
    /// No transfer's deadline lies before this. Progress moves deadlines away, so it is a bound and not their minimum.
    private var nextSweep: ContinuousClock.Instant?
    private var isStopping = false

    init() {
        precondition(epoll >= 0 && wakeUp >= 0, "no file descriptors left for the HTTP client")
        _ = Self.globalInit
        multi = curl_multi_init()!
        ccurl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, 10_000)  // idle connections kept; curl's own choice is 4 per transfer
        let context = Unmanaged.passUnretained(self).toOpaque()
        ccurl_multi_on_socket(
            multi,
            { _, socket, what, context, known in
                Unmanaged<CurlDriver>.fromOpaque(context!).takeUnretainedValue().watch(socket, for: what, isKnown: known != nil)
                return 0
            }, context)
        ccurl_multi_on_timer(
            multi,
            { _, milliseconds, context in
                let driver = Unmanaged<CurlDriver>.fromOpaque(context!).takeUnretainedValue()
                driver.curlDeadline = milliseconds < 0 ? nil : ContinuousClock.now + .milliseconds(milliseconds)
                return 0
            }, context)
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: wakeUp))
        epoll_ctl(epoll, EPOLL_CTL_ADD, wakeUp, &event)
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                ccurl_name_thread("http-client")
                Unmanaged<CurlDriver>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(self).toOpaque())
        precondition(status == 0, "cannot start a thread for the HTTP client")
        pthread_detach(thread)
    }

    private static let globalInit: Void = { _ = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) }()

    /// The thread holds the driver until it has ended, so nothing uses these any more.
    deinit {
        close(epoll)
        close(wakeUp)
    }

    // MARK: any thread

    func enqueue(_ command: Command) {
        let action = queue.withLockedValue { queue -> (wake: Bool, refused: Bool) in
            if queue.isStopped { return (false, true) }
            if case .stop = command { queue.isStopped = true }
            queue.commands.append(command)
            defer { queue.isWakeUpPending = true }
            return (!queue.isWakeUpPending, false)
        }
        if action.wake { eventfd_write(wakeUp, 1) }
        if action.refused, case .start(let transfer) = command {
            transfer.sink?.finished(TransferFailure.shutDown)
            transfer.sink?.turnEnded()
            transfer.sink = nil
        }
    }

    /// Ends all transfers with `unavailable` and the thread; returns when it has ended.
    func stop() async {
        enqueue(.stop)
        await withCheckedContinuation { continuation in
            let hasEnded = queue.withLockedValue { queue in
                if !queue.hasEnded { queue.waitingForEnd.append(continuation) }
                return queue.hasEnded
            }
            if hasEnded { continuation.resume() }
        }
    }

    // MARK: the loop

    private func run() {
        let capacity = 512
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: capacity)
        defer { events.deallocate() }
        while !isStopping {
            let count = epoll_wait(epoll, events, Int32(capacity), waitMilliseconds())
            now = ContinuousClock.now
            for index in 0..<Int(max(count, 0)) { handle(events[index]) }
            performCommands()
            if let deadline = curlDeadline, ContinuousClock.now >= deadline {
                curlDeadline = nil
                act(CURL_SOCKET_TIMEOUT, 0)
            }
            sweepDeadlines()
            collectFinished()
            endTurn()
        }
        end()
    }

    private func waitMilliseconds() -> Int32 {
        let deadlines = [curlDeadline, nextSweep].compactMap { $0 }
        guard let first = deadlines.min() else { return -1 }
        let left = first - ContinuousClock.now
        if left <= .zero { return 0 }
        // Rounded up, lest the loop spin through the last fraction of a millisecond.
        return Int32(clamping: left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000 + 1)
    }

    private func handle(_ event: epoll_event) {
        if event.data.fd == wakeUp {
            var value: eventfd_t = 0
            eventfd_read(wakeUp, &value)
            return
        }
        var what: Int32 = 0
        if event.events & EPOLLIN.rawValue != 0 { what |= CURL_CSELECT_IN }
        if event.events & EPOLLOUT.rawValue != 0 { what |= CURL_CSELECT_OUT }
        if event.events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { what |= CURL_CSELECT_ERR }
        act(event.data.fd, what)
    }

    private func act(_ socket: curl_socket_t, _ what: Int32) {
        var running: Int32 = 0
        curl_multi_socket_action(multi, socket, what, &running)
    }

    private func watch(_ socket: curl_socket_t, for what: Int32, isKnown: Bool) {
        if what == CURL_POLL_REMOVE {
            epoll_ctl(epoll, EPOLL_CTL_DEL, socket, nil)
            return
        }
        var interest: UInt32 = 0
        if what & CURL_POLL_IN != 0 { interest |= EPOLLIN.rawValue }
        if what & CURL_POLL_OUT != 0 { interest |= EPOLLOUT.rawValue }
        var event = epoll_event(events: interest, data: epoll_data_t(fd: socket))
        if isKnown {
            epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &event)
            return
        }
        if epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) != 0 { epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &event) }
        curl_multi_assign(multi, socket, UnsafeMutableRawPointer(bitPattern: 1))
    }

    private func performCommands() {
        let commands = queue.withLockedValue { queue in
            queue.isWakeUpPending = false
            defer { queue.commands = [] }
            return queue.commands
        }
        for command in commands {
            switch command {
            case .start(let transfer): begin(transfer)
            case .cancel(let transfer): finish(transfer, CancellationError())
            case .resume(let transfer): resume(transfer)
            case .stop: isStopping = true
            }
        }
    }

    // MARK: transfers

    private func begin(_ transfer: Transfer) {
        transfer.clock.start(at: now)
        guard let easy = idleHandles.popLast() ?? curl_easy_init() else {
            markDirty(transfer)
            transfer.sink?.finished(AppError(.unavailable, "out of memory while calling \(transfer.target.name)"))
            transfer.sink = nil
            return
        }
        transfer.easy = easy
        live[easy] = transfer
        transfer.configure(easy)
        expect(transfer)
        let status = curl_multi_add_handle(multi, easy)
        if status != CURLM_OK {
            finish(
                transfer,
                AppError(.internal, "cannot call \(transfer.target.name): \(String(cString: curl_multi_strerror(status)))"))
        }
    }

    private func resume(_ transfer: Transfer) {
        guard let easy = transfer.easy, transfer.isPaused else { return }
        transfer.isPaused = false
        transfer.clock.resume(at: now)
        expect(transfer)
        let status = curl_easy_pause(easy, CURLPAUSE_CONT)  // may hand over the held bytes at once, and pause again
        if status != CURLE_OK { finish(transfer, transfer.error(for: status)) }
    }

    private func finish(_ transfer: Transfer, _ failure: (any Error)?) {
        guard let easy = transfer.easy else { return }
        curl_multi_remove_handle(multi, easy)
        live[easy] = nil
        transfer.easy = nil
        transfer.releaseRequest()
        curl_easy_reset(easy)
        if idleHandles.count < 256 { idleHandles.append(easy) } else { curl_easy_cleanup(easy) }
        markDirty(transfer)
        transfer.sink?.finished(failure)
    }

    private func collectFinished() {
        var easy: UnsafeMutableRawPointer?
        var code = CURLE_OK
        while ccurl_multi_next_done(multi, &easy, &code) == 1 {
            guard let easy, let transfer = live[easy] else { continue }
            finish(transfer, code == CURLE_OK ? nil : transfer.error(for: code))
        }
    }

    func markDirty(_ transfer: Transfer) {
        if transfer.isDirty { return }
        transfer.isDirty = true
        dirty.append(transfer)
    }

    private func endTurn() {
        while !dirty.isEmpty {
            let turn = dirty
            dirty = []
            for transfer in turn {
                transfer.isDirty = false
                transfer.sink?.turnEnded()
                if transfer.easy == nil { transfer.sink = nil }
            }
        }
    }

    // MARK: deadlines

    func expect(_ transfer: Transfer) {
        guard let deadline = transfer.clock.deadline else { return }
        nextSweep = nextSweep.map { min($0, deadline) } ?? deadline
    }

    private func sweepDeadlines() {
        guard let sweep = nextSweep, now >= sweep else { return }
        nextSweep = nil
        for transfer in Array(live.values) {
            if let expiry = transfer.clock.expiry(at: now) {
                finish(transfer, transfer.request.timeouts.error(expiry, target: transfer.target))
            } else {
                expect(transfer)
            }
        }
    }

    // MARK: the end

    private func end() {
        for transfer in Array(live.values) { finish(transfer, TransferFailure.shutDown) }
        endTurn()
        for easy in idleHandles { curl_easy_cleanup(easy) }
        idleHandles = []
        curl_multi_cleanup(multi)
        let waiting = queue.withLockedValue { queue in
            queue.hasEnded = true
            defer { queue.waitingForEnd = [] }
            return queue.waitingForEnd
        }
        for continuation in waiting { continuation.resume() }
    }
}

import Logging
import NIOConcurrencyHelpers
import Foundation
import Glibc
import UnixSignals

/// SIGTERM, SIGINT and SIGHUP: the first ends the server in order, the second cuts short what can be, the third exits at once. With
/// something to read again SIGHUP does that instead.
final class Signals: Sendable {
    private struct State {
        var count = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
        var onFirst: [@Sendable () -> Void] = []
        var onSecond: [@Sendable () -> Void] = []
        var onHangup: (@Sendable () -> Void)?
    }

    private let state = NIOLockedValueBox(State())
    private let logger: Logger

    init(logger: Logger) { self.logger = logger }

    /// From here on no signal kills the process by itself.
    func trap() async {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup)
        // Lives as long as the process.
        Task.detached { [self] in
            for await signal in signals {
                if signal == .sighup, let action = state.withLockedValue({ $0.onHangup }) {
                    action()
                } else {
                    received("\(signal)")
                }
            }
        }
        if early != 0 { received("signal \(early)") }
    }

    private static let trapped = [SIGTERM, SIGINT, SIGHUP]

    /// For what must not be cut short before signals are trapped: they wait for its end. One that comes between that end and `trap` is
    /// remembered for it.
    /// - Throws: what the body throws; `CancellationError` when one came.
    static func held<Value>(_ body: () throws -> Value) throws -> Value {
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in trapped { sigaddset(&signals, signal) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        for signal in trapped { Glibc.signal(signal) { early = sig_atomic_t($0) } }
        defer { pthread_sigmask(SIG_UNBLOCK, &signals, nil) }
        let value = try body()
        var none = timespec()
        // Taken out, or it would be delivered after all.
        if sigtimedwait(&signals, nil, &none) > 0 { throw CancellationError() }
        return value
    }

    private func received(_ name: String) {
        let (count, waiting, actions) = state.withLockedValue { state in
            state.count += 1
            defer { state.waiting = [] }
            return (state.count, state.waiting, state.count == 1 ? state.onFirst : state.count == 2 ? state.onSecond : [])
        }
        switch count {
        case 1: logger.notice("\(name): shutting down in order. Again: cancels builds; a third time: exits at once.")
        case 2: logger.warning("\(name) again: what can be cut short is.")
        default:
            logger.error("\(name) for the third time: exiting at once.")
            exit(immediately: 130)
        }
        for action in actions { action() }
        for continuation in waiting { continuation.resume() }
    }

    /// Returns at the first signal.
    func first() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLockedValue { state in
                if state.count == 0 { state.waiting.append(continuation) }
                return state.count > 0
            }
            if isOver { continuation.resume() }
        }
    }

    func onFirst(_ action: @escaping @Sendable () -> Void) {
        let isOver = state.withLockedValue { state in
            state.onFirst.append(action)
            return state.count > 0
        }
        if isOver { action() }
    }

    func onHangup(_ action: @escaping @Sendable () -> Void) { state.withLockedValue { $0.onHangup = action } }

    func onSecond(_ action: @escaping @Sendable () -> Void) { state.withLockedValue { $0.onSecond.append(action) } }
}

/// Written by a signal handler, before there are threads that read it.
nonisolated(unsafe) private var early: sig_atomic_t = 0

/// Without `atexit` functions or flushing: something may be stuck in just these.
private func exit(immediately status: Int32) -> Never { Glibc._exit(status) }

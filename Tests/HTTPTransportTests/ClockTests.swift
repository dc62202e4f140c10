@testable import HTTPTransport
import Testing

/// When a transfer has taken too long, as a rule over given instants.
struct ClockTests {
    private let start = ContinuousClock.now
    private func at(_ seconds: Int) -> ContinuousClock.Instant { start + .seconds(seconds) }

    private func clock(total: Int? = nil) -> TransferClock {
        var clock = TransferClock(timeouts: .init(firstByte: .seconds(60), idle: .seconds(10), total: total.map { .seconds($0) }))
        clock.start(at: start)
        return clock
    }

    @Test func `before the head only the first-byte limit counts`() {
        let clock = clock()
        #expect(clock.deadline == at(60))
        #expect(clock.expiry(at: at(59)) == nil)
        #expect(clock.expiry(at: at(60)) == .firstByte)
    }

    @Test func `each piece moves the idle limit on`() {
        var clock = clock()
        clock.progress(at: at(5))
        #expect(clock.deadline == at(15))
        clock.progress(at: at(14))
        #expect(clock.expiry(at: at(23)) == nil)
        #expect(clock.expiry(at: at(24)) == .idle)
    }

    @Test func `a slow reader runs into no limit but the total`() {
        var clock = clock(total: 100)
        clock.progress(at: at(5))
        clock.pause()
        #expect(clock.expiry(at: at(99)) == nil)
        #expect(clock.expiry(at: at(100)) == .total)
        clock.resume(at: at(50))
        #expect(clock.expiry(at: at(59)) == nil)
        #expect(clock.expiry(at: at(60)) == .idle)
    }

    @Test func `the total wins over what comes later`() {
        #expect(clock(total: 30).deadline == at(30))
        #expect(clock(total: 30).expiry(at: at(30)) == .total)
    }
}

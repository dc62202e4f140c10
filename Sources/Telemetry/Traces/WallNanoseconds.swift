import Glibc

/// A time of day in nanoseconds since 1970, as OTLP wants it.
package struct WallNanoseconds: Sendable {
    package var value: UInt64

    package init(_ value: UInt64) { self.value = value }

    package static var now: WallNanoseconds {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return WallNanoseconds(UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec))
    }
}

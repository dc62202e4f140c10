import Foundation

/// The clock that tests replace. Periods and leases use the database's clock instead.
package struct WallClock: Sendable {
    package var now: @Sendable () -> Date
    package init(now: @escaping @Sendable () -> Date) { self.now = now }
    package static let system = WallClock(now: { Date() })
}

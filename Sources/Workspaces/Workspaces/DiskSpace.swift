import Core
import Foundation

/// New work needs room: none is taken on when too little is free where workspaces live.
package struct DiskSpace: Sendable {
    private let path: String
    private let floor: UInt64
    private let free: @Sendable (String) -> UInt64?

    /// - Parameter floor: bytes that must be free, 1 GiB unless told.
    package init(path: String, floor: UInt64 = 1 << 30, free: @escaping @Sendable (String) -> UInt64? = Self.measure) {
        self.path = path
        self.floor = floor
        self.free = free
    }

    /// Nil when the path cannot be looked at.
    @Sendable package static func measure(_ path: String) -> UInt64? {
        var info = statvfs()
        return statvfs(path, &info) == 0 ? UInt64(info.f_bavail) * UInt64(info.f_frsize) : nil
    }

    /// - Throws: `unavailable`, with how much is free and how much must be.
    package func check() throws {
        guard let free = free(path), free < floor else { return }
        throw AppError(
            .unavailable,
            "No new work is taken on: only \(free >> 20) MiB are free in \(path), \(floor >> 20) MiB must be. Make room, or delete workspaces.",
            retry: .after(.seconds(60)))
    }
}

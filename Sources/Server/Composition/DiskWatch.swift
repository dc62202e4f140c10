import Core
import Foundation
import Logging
import Workspaces

/// Says when the disk of the data directory is full: at `/readyz`, and once in the log.
struct DiskWatch: Sendable {
    /// Below this the embedded database cannot go on for long: it writes its log in pieces of 16 MiB.
    static let floor: UInt64 = 64 << 20
    private static let interval = Duration.seconds(2)

    let path: String
    let logger: Logger

    /// Nil: there is room, or the disk cannot be asked.
    var problem: String? {
        guard let free = DiskSpace.measure(path), free < Self.floor else { return nil }
        return "the disk is full: \(free >> 20) MiB are free in \(path), \(Self.floor >> 20) MiB must be"
    }

    /// Until it is cancelled.
    func run() async {
        var wasFull = false
        while !Task.isCancelled {
            let problem = problem
            if let problem, !wasFull {
                logger.error("Make room: \(problem). Nothing can be recorded, so little is done until then.")
            }
            if problem == nil, wasFull { logger.notice("There is room on the disk again.", metadata: ["path": "\(path)"]) }
            wasFull = problem != nil
            try? await Task.sleep(for: Self.interval)
        }
    }
}

import CShims
import Foundation
import Glibc

/// A process of the host, by number and start time.
struct HostProcess: Hashable, Sendable {
    var pid: Int32
    var startTime: UInt64

    /// The host's boot id. It is the same inside all sandboxes, so it is no secret and no sandbox's identity.
    static func bootID() -> String {
        guard let data = FileManager.default.contents(atPath: "/proc/sys/kernel/random/boot_id") else { return "" }
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    static func startTime(of pid: Int32) -> UInt64? {
        guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return nil }
        return parseStartTime(String(decoding: data, as: UTF8.self))
    }

    /// Field 22 of `/proc/PID/stat`; the name in field 2 may hold spaces and parentheses.
    static func parseStartTime(_ stat: String) -> UInt64? {
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        return fields.count > 19 ? UInt64(fields[19]) : nil
    }

    /// A descriptor that is readable once the process has ended; nil when it has, or when the number is another process's by now.
    func open() -> Int32? {
        // Opened first, compared after: in between the number cannot have been given away.
        let descriptor = slipway_pidfd_open(pid)
        guard descriptor >= 0 else { return nil }
        // A zombie that nobody has waited for still has its number and start time; its pidfd is readable.
        var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard Self.startTime(of: pid) == startTime, poll(&wait, 1, 0) == 0 else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    var isAlive: Bool {
        guard let descriptor = open() else { return false }
        close(descriptor)
        return true
    }
}

import Foundation

/// What runs on this machine, read from `/proc`.
enum HostProcesses {
    static var all: [pid_t] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { pid_t($0) }
    }

    /// Name and parent; nil when it is gone.
    static func stat(_ pid: pid_t) -> (name: String, parent: pid_t)? {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let open = text.firstIndex(of: "("), let close = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[text.index(after: close)...].split(separator: " ")
        guard fields.count > 1, let parent = pid_t(fields[1]) else { return nil }
        return (String(text[text.index(after: open)..<close]), parent)
    }

    static func children(of parent: pid_t) -> [pid_t] { all.filter { stat($0)?.parent == parent } }

    /// All below it.
    static func descendants(of root: pid_t) -> [pid_t] {
        var parents: [pid_t: pid_t] = [:]
        for pid in all { parents[pid] = stat(pid)?.parent }
        var found: [pid_t] = []
        var frontier: Set<pid_t> = [root]
        while !frontier.isEmpty {
            let next = parents.filter { frontier.contains($0.value) }.map(\.key)
            found += next
            frontier = Set(next)
        }
        return found
    }

    static func isAlive(_ pid: pid_t) -> Bool { kill(pid, 0) == 0 }
}

import Foundation

/// What a running postmaster writes into `postmaster.pid`: process id, data directory, start time, port, socket directory,
/// listen address, shared memory, status.
struct PostmasterFile: Equatable {
    var pid: Int32
    var socketDirectory: String
    var isReady: Bool

    init?(text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let first = lines.first, let pid = Int32(first.trimmingCharacters(in: .whitespaces)), pid > 1 else { return nil }
        self.pid = pid
        socketDirectory = lines.count > 4 ? String(lines[4]) : ""
        isReady = lines.count > 7 && lines[7].trimmingCharacters(in: .whitespaces) == "ready"
    }

    static func read(data: String) -> PostmasterFile? {
        (try? String(contentsOfFile: data + "/postmaster.pid", encoding: .utf8)).flatMap(PostmasterFile.init(text:))
    }

    /// Whether the process of that number is a postmaster of this data directory, not another one that got the number.
    func isPostmaster(of data: String) -> Bool {
        guard let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe"),
            let directory = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/cwd")
        else { return false }
        let real = URL(fileURLWithPath: data).resolvingSymlinksInPath().path
        return (program as NSString).lastPathComponent.hasPrefix("postgres") && directory == real
    }

    /// Whether the program that runs was replaced by a newer one since.
    var isReplaced: Bool {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe"))?.hasSuffix(" (deleted)") ?? false
    }
}

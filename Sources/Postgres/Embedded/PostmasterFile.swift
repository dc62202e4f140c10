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
            (program as NSString).lastPathComponent.hasPrefix("postgres")
        else { return false }
        // The folder itself, for it may be called otherwise in there.
        var its = stat()
        var ours = stat()
        return stat("/proc/\(pid)/cwd", &its) == 0 && stat(data, &ours) == 0 && its.st_dev == ours.st_dev
            && its.st_ino == ours.st_ino
    }

    /// Whether the program that runs was replaced by a newer one since.
    var isReplaced: Bool {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe"))?.hasSuffix(" (deleted)") ?? false
    }
}

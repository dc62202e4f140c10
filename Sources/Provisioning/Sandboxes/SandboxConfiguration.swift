import Core
import Foundation

/// Where sandboxes live on this host and what they are made of.
package struct SandboxConfiguration: Codable, Sendable {
    /// BASE, usually `<data-dir>/sandboxes`. In root mode it belongs to root and nobody else may write there.
    package var base: String
    /// Holds `slipway-launcher` and `sandbox/{agent,keeper,zone,seccomp.bpf}`.
    package var libexec: String
    /// Further directories shown read-only at their own paths, such as toolchains outside `/usr`.
    package var tools: [String] = []
    /// PATH of commands; the tools' own folders come first.
    package var toolPath: String = "/usr/local/bin:/usr/bin:/bin"
    /// Root mode: workspace n gets this + 2n and the next. Nobody else on the host may use the range.
    package var firstUID: UInt32 = 1_900_000_000
    /// The user that will bind sockets in `socketDirectory`; nil: whoever starts the launcher.
    package var socketOwner: UInt32?
    package var cgroups: String = "/sys/fs/cgroup"
    /// Nothing is started with less than this free on the file system of `base`.
    package var freeSpaceFloor: UInt64 = 1 << 30
    package var watchdogInterval: Double = 10

    package init(base: String, libexec: String) {
        self.base = base
        self.libexec = libexec
    }

    /// Shows further directories, their `bin` and `usr/bin` first in PATH. What lies in `/usr` is shown anyway.
    /// - Throws: `badRequest` for what is no absolute path of a directory, or would cover a place of the sandbox's own.
    package mutating func show(tools directories: [String]) throws {
        let own = [
            "/", "/proc", "/dev", "/sys", "/etc", "/tmp", "/run", "/home", "/home/work", "/opt/slipway", "/usr", "/bin", "/lib",
        ]
        var path: [String] = []
        for directory in directories {
            var isDirectory: ObjCBool = false
            let clean = URL(fileURLWithPath: directory).standardizedFileURL.path
            guard directory.hasPrefix("/"), clean == directory, !own.contains(clean), !clean.contains(":"),
                FileManager.default.fileExists(atPath: clean, isDirectory: &isDirectory), isDirectory.boolValue
            else {
                throw AppError(
                    .badRequest,
                    "'\(directory)' cannot be shown in workspaces: an absolute path of a directory is expected, such as /opt/swift.",
                    field: "tools")
            }
            path += ["\(clean)/bin", "\(clean)/usr/bin"].filter { FileManager.default.fileExists(atPath: $0) }
        }
        tools = directories.filter { !$0.hasPrefix("/usr/") }
        toolPath = (path + [toolPath]).joined(separator: ":")
    }

    /// Bound into each sandbox as `/run/slipway/sock`. A socket's path may have 107 bytes: give sockets short names, mode 0666.
    package var socketDirectory: String { "\(base)/sock" }

    var launcherPath: String { "\(libexec)/slipway-launcher" }
    var insidePath: String { "\(libexec)/sandbox" }

    var launcherArguments: [String] {
        var list = [
            launcherPath, "--base", base, "--libexec", libexec, "--first-uid", String(firstUID), "--cgroups", cgroups,
            "--tool-path", toolPath,
        ]
        if !tools.isEmpty { list += ["--tools", tools.joined(separator: ":")] }
        if let socketOwner { list += ["--socket-owner", String(socketOwner)] }
        return list
    }
}

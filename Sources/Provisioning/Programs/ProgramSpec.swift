import Core
import Foundation

/// A program that reads and writes lines, for a sandbox without network, home or anything of the server.
package struct ProgramSpec: Sendable {
    /// The program and its arguments; the program by its absolute path, or by a name in PATH.
    package var command: [String]
    /// All that it gets beside PATH, HOME and LANG.
    package var environment: [String: String]
    /// Of data of each of its processes.
    package var memoryBytes: UInt64 = 1 << 30
    package var processes: UInt32 = 64

    package init(command: [String], environment: [String: String]) {
        self.command = command
        self.environment = environment
    }

    /// What is given to bubblewrap in a descriptor instead of its arguments, which everybody on the host may read.
    func options(_ configuration: SandboxConfiguration) -> [String] {
        var options = [
            "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
            "--disable-userns", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL", "--uid", "1000", "--gid",
            "1000",
            "--hostname", "tools", "--ro-bind", "/usr", "/usr",
        ]
        for top in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            if let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/\(top)") {
                options += ["--symlink", target, "/\(top)"]
            } else {
                options += ["--ro-bind-try", "/\(top)", "/\(top)"]
            }
        }
        // What programs need to run at all, and nothing that names this host.
        for file in ["alternatives", "ld.so.cache", "ssl/certs", "ssl/openssl.cnf", "localtime", "python3", "mime.types"] {
            options += ["--ro-bind-try", "/etc/\(file)", "/etc/\(file)"]
        }
        options += [
            "--proc", "/proc", "--dev", "/dev", "--size", "\(64 << 20)", "--tmpfs", "/tmp", "--size", "\(16 << 20)", "--tmpfs",
            "/dev/shm",
            // It is in memory as well, of no bounded size; what is mounted below it stays as it is.
            "--remount-ro", "/dev",
            "--perms", "0700", "--size", "\(64 << 20)", "--tmpfs", "/home", "--setenv", "PATH", configuration.toolPath,
            "--setenv", "HOME", "/home", "--setenv", "LANG", "C.UTF-8",
        ]
        // Behind the places of its own, which would cover one that lies below them.
        for directory in configuration.tools { options += ["--ro-bind", directory, directory] }
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) { options += ["--setenv", name, value] }
        return options + ["--remount-ro", "/", "--chdir", "/home"]
    }

    /// From bubblewrap on.
    var arguments: [String] {
        [
            LocalSandbox.bubblewrap, "--args", "3", "--seccomp", "4", "--", Self.limiter, "--nproc=\(processes)",
            "--data=\(memoryBytes)",
            "--nofile=1024", "--fsize=\(64 << 20)", "--core=0", "--",
        ] + command
    }

    static let limiter = "/usr/bin/prlimit"
    /// Bubblewrap never runs as root.
    static let lowering = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
}

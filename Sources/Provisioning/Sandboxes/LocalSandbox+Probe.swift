import Core
import Foundation
import Glibc

extension LocalSandbox {
    static let bubblewrap = "/usr/bin/bwrap"

    /// Starts a sandbox that ends as soon as its zone serves: whether this host can isolate workspaces, and how well.
    /// - Throws: `unavailable` with what is missing and what to do about it.
    package func probe() async throws -> SandboxCapabilities {
        let began = ContinuousClock.now
        do {
            let sandboxID = [UInt8](repeating: 0, count: 16)
            let sandbox = try await launcher.call(.probe(SandboxLimits(), sandboxID: sandboxID)).sandbox()
            let isolation = SandboxIsolation(
                sandbox.obtained, number: 0, firstUID: configuration.firstUID, ownUID: geteuid())
            return SandboxCapabilities(
                isolation: isolation, bubblewrap: Self.bubblewrap,
                startMilliseconds: (ContinuousClock.now - began) / .milliseconds(1))
        } catch let failure as LauncherReply.Failure {
            throw explain(failure, log: "\(configuration.base)/ws/0/state/log")
        }
    }

    /// Everything a start needs, before anything is started.
    package static func checkPrograms(_ configuration: SandboxConfiguration, bubblewrap: String = "/usr/bin/bwrap") throws {
        guard access(bubblewrap, X_OK) == 0 else {
            throw AppError(
                .unavailable, "\(bubblewrap) is missing: workspaces on this host need bubblewrap. Run: apt-get install bubblewrap")
        }
        let inside = ["keeper", "zone", "seccomp.bpf", "agent"].map { "\(configuration.insidePath)/\($0)" }
        for path in [configuration.launcherPath] + inside where access(path, R_OK) != 0 {
            throw AppError(
                .unavailable,
                "\(path) is missing: the sandbox's own programs are not built or not where --libexec says. Run: make tools agent",
                field: "libexec")
        }
    }

    /// The launcher's words, and what to do about them.
    func explain(_ failure: LauncherReply.Failure, log: String) -> AppError {
        let reason = failure.reason.replacingOccurrences(of: "launcher: ", with: "")
        var advice = ""
        if reason.contains("user namespace") || reason.contains("No permissions to create new namespace") {
            advice =
                " Allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, "
                + "user.max_user_namespaces=10000; in a container, a seccomp profile that permits them) or start the server as root on the host."
        } else if reason.contains("different builds") {
            advice = " Run: make tools agent"
        } else if reason.contains("Unknown option") {
            advice = " bubblewrap 0.8.0 or newer is needed."
        } else if reason.contains("overlay") || reason.contains("mapped ids") {
            advice = " Put the data directory on a local ext4, XFS or btrfs file system."
        }
        return AppError(
            .unavailable, "The sandbox could not be started: \(reason).\(advice)", detail: "see \(log)", retry: .after(.seconds(5)))
    }
}

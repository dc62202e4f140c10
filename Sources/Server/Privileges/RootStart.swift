import CShims
import Core
import Foundation
import Logging
import Postgres
import Provisioning

/// What a server does as root, when root starts it: what needs root's rights, then giving them up for good.
///
/// It runs on the process's first and only thread, before anything else: mounts and capabilities are a thread's, and threads that come
/// later inherit them.
struct RootStart {
    let account: ServerAccount
    let logger: Logger

    /// Nil when the server was not started by root: it has, and needs, no more rights than its user.
    static func prepare(_ configuration: inout Configuration, logger: Logger) throws -> PrivilegedLauncherOutcome? {
        guard geteuid() == 0 else { return nil }
        return try RootStart(account: try ServerAccount.find(), logger: logger).run(&configuration)
    }

    private func run(_ configuration: inout Configuration) throws -> PrivilegedLauncherOutcome {
        let data = DataDirectory(path: configuration.dataDirectory)
        try data.prepare()
        // The file stays root's: what the server could read, a workspace's escapee or a query in the database could.
        _ = try KeyRingSource.load(configuration)
        configuration.keys = Secret(try KeyRingSource.text(configuration))
        _ = try HostID.load(configuration.dataDirectory)
        try data.give("host-id", to: account)
        if configuration.postgresURL == nil {
            try EmbeddedPostgres.handOver(
                dataDirectory: data.path + "/postgres", toUser: account.uid, group: account.gid, logger: logger)
        }
        var sandboxes = try Startup.sandboxes(configuration)
        sandboxes.socketOwner = account.uid
        try data.makeFolder("sandboxes", mode: 0o711)
        try data.makeFolder("sandboxes/sock", mode: 0o755, owner: account)
        let launcher = Self.startLauncher(sandboxes)
        try ClosedFolders(account: account).open(needed(by: configuration, sandboxes))
        try giveUpRights(lowPort: (1..<1024).contains(configuration.listen.port))
        try checkFiles(configuration)
        return PrivilegedLauncherOutcome(configuration: sandboxes, launcher: launcher)
    }

    private static func startLauncher(_ sandboxes: SandboxConfiguration) -> Result<PrivilegedLauncher, AppError> {
        // Tasks say it when they need a workspace; everything else works without.
        Result { try PrivilegedLauncher.start(sandboxes) }.mapError {
            AppError(anything: $0).adding("Then start the server again.")
        }
    }

    /// What the server opens by its path later on, itself or in its children.
    private func needed(by configuration: Configuration, _ sandboxes: SandboxConfiguration) -> [String] {
        let files = [configuration.tlsCertificate, configuration.tlsKey].compactMap { $0 } + [Startup.executable] + Self.libraries
        return [configuration.dataDirectory, sandboxes.libexec] + files.map { ($0 as NSString).deletingLastPathComponent }
    }

    /// The shared libraries in use, for the provisioner that is started later.
    private static var libraries: [String] {
        let maps = (try? String(contentsOfFile: "/proc/self/maps", encoding: .utf8)) ?? ""
        return maps.split(separator: "\n").compactMap { line in
            line.firstIndex(of: "/").map { String(line[$0...]) }
        }.filter { $0.contains(".so") }
    }

    private func giveUpRights(lowPort: Bool) throws {
        // Programs that look for files in a home (libpq, git) must not stumble over root's, which is closed now.
        for (name, value) in [("HOME", account.home), ("USER", ServerAccount.name), ("LOGNAME", ServerAccount.name)] {
            setenv(name, value, 1)
        }
        let error = slipway_become_user(ServerAccount.name, account.uid, account.gid, lowPort ? 1 : 0)
        guard error == 0 else {
            throw AppError(
                .unavailable,
                "The server cannot become the user \(ServerAccount.name) (\(account.uid)): \(String(cString: strerror(-error))). Start it as that user."
            )
        }
        let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []
        guard threads.count == 1 else {
            throw AppError(.internal, "The server had \(threads.count) threads when it gave root up; it must have one.")
        }
    }

    /// What is read again and again must be readable for the one the server has become.
    private func checkFiles(_ configuration: Configuration) throws {
        for path in [configuration.tlsCertificate, configuration.tlsKey].compactMap({ $0 }) where access(path, R_OK) != 0 {
            guard errno == EACCES else { continue }
            throw AppError(
                .unavailable,
                "\(path) cannot be read by the user \(ServerAccount.name), as whom the server runs when root starts it. Run: chgrp \(ServerAccount.name) \(path) && chmod g+r \(path)",
                field: "tls-key")
        }
    }
}

/// Where sandboxes live, and the launcher for them that was started as root, or why it was not.
package struct PrivilegedLauncherOutcome: Sendable {
    var configuration: SandboxConfiguration
    var launcher: Result<PrivilegedLauncher, AppError>
}

extension AppError {
    fileprivate func adding(_ sentence: String) -> AppError {
        var copy = self
        copy.message += " " + sentence
        return copy
    }
}

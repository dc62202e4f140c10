import CPostgres
import Core
import Foundation
import Logging

/// A cluster on disk: made once by initdb, then started, adopted and stopped.
struct Cluster: Sendable {
    let folder: ClusterFolder
    let binaries: PostgresBinaries
    let password: Secret<String>
    let settings: [String: String]
    let logger: Logger

    private static let userName = "slipway"

    var connectionURL: Secret<String> {
        var allowed = CharacterSet.alphanumerics
        allowed.insert(charactersIn: "-._~/")
        let host = folder.socketDirectory.addingPercentEncoding(withAllowedCharacters: allowed) ?? folder.socketDirectory
        return Secret("postgresql:///postgres?host=\(host)&user=\(Self.userName)&password=\(password.reveal())")
    }

    // MARK: Making it

    static func open(_ folder: ClusterFolder, settings: [String: String], logger: Logger) async throws -> Cluster {
        let version = try? String(contentsOfFile: folder.data + "/PG_VERSION", encoding: .utf8)
        let made = version.flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        let binaries = try PostgresBinaries.find(version: made)
        let cluster = Cluster(
            folder: folder, binaries: binaries, password: try password(of: folder, isNew: made == nil), settings: settings,
            logger: logger)
        if made == nil { try await cluster.create() }
        return cluster
    }

    private static func password(of folder: ClusterFolder, isNew: Bool) throws -> Secret<String> {
        if let text = try? String(contentsOfFile: folder.password, encoding: .utf8), !text.isEmpty {
            return Secret(text.trimmingCharacters(in: .whitespacesAndNewlines))
        }
        guard isNew else {
            throw AppError(
                .unavailable,
                "The file \(folder.password) with the embedded database's password cannot be read. Restore it from a backup.")
        }
        var bytes = Data(count: 32)
        for index in bytes.indices { bytes[index] = .random(in: .min ... .max) }  // the system's generator
        try writePrivate(bytes.hex + "\n", to: folder.password)
        return Secret(bytes.hex)
    }

    private static func writePrivate(_ text: String, to path: String) throws {
        unlink(path)
        let descriptor = Foundation.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw ClusterFolder.failure("cannot create", path) }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0 else {
            throw ClusterFolder.failure("cannot write", path)
        }
    }

    /// Made beside its place and moved there when it is complete, so that an interrupted initdb is simply done again.
    private func create() async throws {
        let draft = folder.path + "/data.new"
        try? FileManager.default.removeItem(atPath: draft)
        guard mkdir(draft, 0o700) == 0, chown(draft, folder.user.uid, folder.user.gid) == 0 else {
            throw ClusterFolder.failure("cannot create", draft)
        }
        let passwordFile = folder.socketDirectory + "/password"
        try Self.writePrivate(password.reveal() + "\n", to: passwordFile)
        defer { unlink(passwordFile) }
        chown(passwordFile, folder.user.uid, folder.user.gid)
        let isDurable = settings["fsync"] != "off"
        let output = try openLog()
        defer { close(output.descriptor) }
        let process = try WatchedProcess.start(
            binaries.initdb,
            [
                "-D", folder.inside(draft), "-U", Self.userName, "--pwfile", folder.inside(passwordFile), "-A", "scram-sha-256",
                "--data-checksums", "-E", "UTF8",
                "--locale", "C.UTF-8", "--no-sync",
            ], directory: folder.inside(draft), output: output.descriptor, as: folder.user, seeing: folder.view)
        let status = await withTaskCancellationHandler {
            await process.ended()
        } onCancel: {
            process.signal(SIGTERM)
        }
        try Task.checkCancellation()
        guard status == 0 else {
            throw AppError(.unavailable, "initdb could not create the embedded database in \(draft): \(output.tail())")
        }
        if isDurable { try await flush(draft) }
        guard rename(draft, folder.data) == 0 else { throw ClusterFolder.failure("cannot create", folder.data) }
    }

    /// The whole file system at once: initdb's own way, file by file, takes seconds longer.
    private func flush(_ draft: String) async throws {
        let process = try WatchedProcess.start("/bin/sync", ["-f", draft], directory: "/", output: -1, as: .current)
        guard await process.ended() == 0 else {
            throw AppError(.unavailable, "The embedded database in \(draft) cannot be flushed to the disk.")
        }
    }

    // MARK: Running it

    /// The postmaster that a server before us left behind, if it works.
    func adopt() async throws -> WatchedProcess? {
        guard let file = PostmasterFile.read(data: folder.data) else { return nil }
        guard file.isPostmaster(of: folder.data), let process = try? WatchedProcess(file.pid) else {
            // The number belongs to nobody or to somebody else. PostgreSQL would only look whether the number exists.
            unlink(folder.data + "/postmaster.pid")
            return nil
        }
        if !file.isReplaced, file.socketDirectory == folder.inside(folder.socketDirectory), await answers(within: .seconds(3)) {
            logger.info("adopted the running database", metadata: ["pid": "\(file.pid)"])
            return process
        }
        logger.warning("the database that was left running does not work and is restarted", metadata: ["pid": "\(file.pid)"])
        await Self.stop(process, grace: .seconds(3))
        return nil
    }

    private func answers(within timeout: Duration) async -> Bool {
        let deadline = ContinuousClock.now + timeout
        let configuration = PostgresConfiguration(url: connectionURL)
        repeat {
            if let channel = try? await Connector.connect(configuration) {
                channel.submitClose()
                return true
            }
            try? await Task.sleep(for: .milliseconds(50))
        } while ContinuousClock.now < deadline
        return false
    }

    /// Starts it and waits until it accepts connections.
    func start() async throws -> WatchedProcess {
        let giveUp = ContinuousClock.now + .seconds(10)
        while true {
            let output = try openLog()
            defer { close(output.descriptor) }
            let process = try WatchedProcess.start(
                binaries.postgres, arguments, directory: folder.inside(folder.data), output: output.descriptor, as: folder.user,
                seeing: folder.view)
            if try await isReady(process) { return process }
            let reason = output.tail()
            // Sessions of a postmaster that was killed take a moment to notice it.
            if reason.contains("shared memory block") || reason.contains("lock file"), ContinuousClock.now < giveUp {
                try await Task.sleep(for: .milliseconds(100))
                continue
            }
            throw AppError(.unavailable, "The embedded database does not start: \(reason)", detail: "log: \(folder.log)")
        }
    }

    private func isReady(_ process: WatchedProcess) async throws -> Bool {
        var nextWord = ContinuousClock.now + .seconds(5)
        while process.status == nil {
            if let file = PostmasterFile.read(data: folder.data), file.pid == process.pid, file.isReady { return true }
            if ContinuousClock.now > nextWord {
                logger.notice("the embedded database is recovering", metadata: ["log": "\(folder.log)"])
                nextWord += .seconds(5)
            }
            do { try await Task.sleep(for: .milliseconds(5)) } catch {
                await Self.stop(process, grace: .seconds(5))
                throw error
            }
        }
        return false
    }

    private var arguments: [String] {
        let ours = [
            "listen_addresses": "", "unix_socket_directories": folder.inside(folder.socketDirectory),
            "unix_socket_permissions": "0700",
            "port": "5432",
            "max_connections": "200", "shared_buffers": "128MB", "jit": "off", "log_min_messages": "warning",
            "log_checkpoints": "off",
            "logging_collector": "off", "log_destination": "stderr", "log_line_prefix": "%m [%p] ", "timezone": "UTC",
            "cluster_name": "slipway", "password_encryption": "scram-sha-256",
        ]
        return ["-D", folder.inside(folder.data)]
            + ours.merging(settings) { $1 }.sorted { $0.key < $1.key }.flatMap { ["-c", "\($0.key)=\($0.value)"] }
    }

    /// Fast, then immediate, then by force.
    static func stop(_ process: WatchedProcess, grace: Duration) async {
        for (signal, patience) in [(SIGINT, grace), (SIGQUIT, .seconds(2)), (SIGKILL, .seconds(2))] {
            process.signal(signal)
            if await process.ended(within: patience) != nil { return }
        }
    }

    // MARK: Its log

    private struct Log {
        var path: String
        var descriptor: Int32
        var start: UInt64

        /// What was written since, in one line.
        func tail() -> String {
            guard let file = FileHandle(forReadingAtPath: path) else { return "no reason given" }
            try? file.seek(toOffset: start)
            let text = String(decoding: (try? file.readToEnd()) ?? Data(), as: UTF8.self)
            let lines = text.split(whereSeparator: \.isNewline).suffix(4)
            return lines.isEmpty ? "no reason given" : lines.joined(separator: " | ")
        }
    }

    private func openLog() throws -> Log {
        var status = stat()
        if stat(folder.log, &status) == 0, status.st_size > 16 << 20 { rename(folder.log, folder.log + ".old") }
        let descriptor = Foundation.open(folder.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else { throw ClusterFolder.failure("cannot open", folder.log) }
        return Log(path: folder.log, descriptor: descriptor, start: UInt64(status.st_size))
    }
}

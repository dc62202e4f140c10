import API
import Core
import Foundation
import Postgres
import Provisioning
import TestSupport
import Testing

@testable import Server

/// A server that root starts: it gives root up, and everything still works.
@Suite(.serialized, .timeLimit(.minutes(5)), .enabled(if: geteuid() == 0, "only root can show how root is given up"))
struct RootStartTests {
    private struct Status {
        var fields: [String: [String]] = [:]

        init(_ path: String) throws {
            for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
                let parts = line.split(separator: ":", maxSplits: 1)
                guard parts.count == 2 else { continue }
                fields[String(parts[0])] = parts[1].split(whereSeparator: { $0 == "\t" || $0 == " " }).map(String.init)
            }
        }
    }

    private func account() throws -> ServerAccount { try ServerAccount.find() }

    private func owner(_ path: String) throws -> (uid: uid_t, mode: mode_t) {
        var status = stat()
        try #require(lstat(path, &status) == 0, "\(path) is missing")
        return (status.st_uid, status.st_mode & 0o777)
    }

    private func give(_ path: String, to name: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/chown")
        process.arguments = ["-R", "-h", name, path]
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
    }

    private func expectNoRights(_ pid: Int32, _ account: ServerAccount) throws {
        for thread in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task") {
            guard let status = try? Status("/proc/\(pid)/task/\(thread)/status") else { continue }
            #expect(status.fields["Uid"] == Array(repeating: "\(account.uid)", count: 4))
            #expect(status.fields["Gid"] == Array(repeating: "\(account.gid)", count: 4))
            #expect(status.fields["Groups"]?.contains("0") != true)
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                #expect(status.fields[set] == ["0000000000000000"], "\(set) of thread \(thread)")
            }
            #expect(status.fields["NoNewPrivs"] == ["1"])
        }
    }

    @Test func `it runs as slipway without a right or a way back, and so does its database`() async throws {
        let account = try account()
        let server = try await ServerProcess.start(database: nil)
        try expectNoRights(server.pid, account)
        #expect(server.logText.contains("running as slipway"))
        // What it may not read, and what it may not replace.
        let keys = try owner(server.directory + "/keys")
        #expect(keys.uid == 0 && keys.mode == 0o600)
        let folder = try owner(server.directory)
        #expect(folder.uid == 0 && folder.mode & 0o022 == 0)
        #expect(try owner(server.directory + "/sandboxes").uid == 0)
        // Not to be traced, and not to be looked into by others of that user (the database).
        #expect(try owner("/proc/\(server.pid)/environ").uid == 0)
        let file = try String(contentsOfFile: server.directory + "/postgres/data/postmaster.pid", encoding: .utf8)
        let postmaster = try #require(file.split(separator: "\n").first.flatMap { Int32($0) })
        try expectNoRights(postmaster, account)
        await server.stop()
    }

    @Test func `it cannot read what only root can, and says whom to let in`() async throws {
        let directory = try ServerProcess.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let (certificate, key) = (directory + "/cert.pem", directory + "/key.pem")
        for (path, mode) in [(certificate, 0o644), (key, 0o600)] {
            _ = FileManager.default.createFile(atPath: path, contents: Data("x".utf8), attributes: [.posixPermissions: mode])
        }
        let server = try ServerProcess.launch(
            database: nil, directory: directory, arguments: ["--tls-cert", certificate, "--tls-key", key])
        #expect(await server.ended() == 1)
        #expect(server.logText.contains("\(key) cannot be read by the user slipway"), "\(server.logText)")
    }

    @Test func `a port below 1024 leaves it the right to listen there, and no other`() async throws {
        let free = (600...1000).first { port in
            let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(socket) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            address.sin_addr.s_addr = inet_addr("127.0.0.1")
            return withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
        }
        let port = try #require(free)
        let server = try await ServerProcess.start(database: nil, arguments: ["--listen", "127.0.0.1:\(port)"])
        let status = try Status("/proc/\(server.pid)/status")
        #expect(status.fields["CapEff"] == ["0000000000000400"] && status.fields["CapPrm"] == ["0000000000000400"])
        #expect(try await Client(server).get("/healthz").status == 200)
        await server.stop()
    }

    @Test func `a data directory below a folder that only root can enter works, and nothing else in there is seen`() async throws {
        let closed = try ServerProcess.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: closed) }
        chmod(closed, 0o700)
        try FileManager.default.createDirectory(atPath: closed + "/deep/data", withIntermediateDirectories: true)
        try Data("secret".utf8).write(to: URL(fileURLWithPath: closed + "/deep/other"))
        // The log lies in the data directory and is opened by the one who starts it.
        let server = try await ServerProcess.start(database: nil, directory: closed + "/deep/data")
        try expectNoRights(server.pid, try account())
        #expect(try FileManager.default.contentsOfDirectory(atPath: "/proc/\(server.pid)/root\(closed)/deep") == ["data"])
        #expect(try owner(closed).mode == 0o700)
        await server.stop()
    }

    @Test func `the data directory of a server that ran as root is adopted, its database left running as postgres too`()
        async throws
    {
        try #require(getpwnam("postgres") != nil)
        let directory = try ServerProcess.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let cluster = directory + "/postgres"
        let first = try await ServerProcess.start(database: nil, directory: directory)
        first.signal(SIGTERM)
        _ = await first.ended()
        let keys = try Data(contentsOf: URL(fileURLWithPath: directory + "/keys"))

        // As servers that stayed root left it.
        for name in ["password", "lock", "postgres.log", ""] { #expect(chown("\(cluster)/\(name)", 0, 0) == 0) }
        chmod(cluster, 0o711)
        #expect(chown(directory + "/host-id", 0, 0) == 0)
        for name in ["data", "run"] { try give("\(cluster)/\(name)", to: "postgres") }
        let left = try await EmbeddedPostgres.start(dataDirectory: cluster, logger: .silent, isShared: true)
        #expect(try owner("/proc/\(left.processID)").uid == getpwnam("postgres").pointee.pw_uid)

        let second = try await ServerProcess.start(database: nil, directory: directory)
        let account = try account()
        #expect(kill(left.processID, 0) != 0, "the old postmaster was stopped")
        for name in ["postgres/data", "postgres/data/PG_VERSION", "postgres/password", "postgres/run", "host-id"] {
            #expect(try owner("\(directory)/\(name)").uid == account.uid, "\(name)")
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: directory + "/keys")) == keys)
        try expectNoRights(second.pid, account)
        #expect(try await Client(second).get("/readyz").status == 200)
        await second.stop()
    }

    @Test func `a data directory of another user is refused in one sentence`() async throws {
        let directory = try ServerProcess.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try FileManager.default.createDirectory(atPath: directory + "/data", withIntermediateDirectories: true)
        #expect(chown(directory + "/data", getpwnam("nobody").pointee.pw_uid, 0) == 0)
        let server = try ServerProcess.launch(database: nil, directory: directory + "/data")
        #expect(await server.ended() == 1)
        #expect(server.logText.contains("belongs to the user nobody: start the server as that user"), "\(server.logText)")
    }

    @Test(.enabled(if: Delegation.isBuilt, "run: make tools agent"))
    func `workspaces have host uids of their own, do not see the keys, and are found again after kill -9`() async throws {
        try await TestDatabase.with { database in
            let delegation = try await Delegation(database)
            let first = try await delegation.start()
            try expectNoRights(first.pid, try account())
            let path = APIPaths.workspaces
            let made = try await delegation.client(first).post(path, CreateWorkspaceRequest(name: "box"))
            try #require(made.status == 201, "\(made.text)")
            func run(_ command: String, _ server: ServerProcess) async throws -> ExecResponse {
                let answer = try await delegation.client(server).post("\(path)/box/exec", ExecRequest(command: command))
                try #require(answer.status == 200, "\(answer.text)\n\(server.logText)")
                return try answer.json(ExecResponse.self)
            }
            let look = try await run("id -u; cat \(delegation.directory)/keys; echo kept > kept", first)
            #expect(look.output.contains("1000\n") && look.output.contains("No such file"), "\(look.output)")

            let pool = database.pool()
            func record() async throws -> SandboxRecord {
                try await pool.query("SELECT sandbox FROM workspace_builds WHERE sandbox IS NOT NULL ORDER BY created_at")[0][
                    "sandbox", as: JSON<SandboxRecord>.self
                ].value
            }
            let before = try await record()
            #expect(before.isolation.uids.hasPrefix("own ("), "\(before.isolation.uids)")
            let agent = "\(1_900_000_000 + 2 * before.number)"
            #expect(try Status("/proc/\(before.childPID)/status").fields["Uid"]?.first == agent)

            // The daemon, an ordinary process of the server's user, dies; the launcher serves the next one.
            let children = try String(contentsOfFile: "/proc/\(first.pid)/task/\(first.pid)/children", encoding: .utf8)
            for child in children.split(separator: " ") {
                let command = try String(contentsOfFile: "/proc/\(child)/cmdline", encoding: .utf8)
                if command.contains("\0provisioner\0"), let pid = pid_t(child) { kill(pid, SIGKILL) }
            }
            let another = try await delegation.client(first).post(path, CreateWorkspaceRequest(name: "other"))
            #expect(another.status == 201)
            let answer = try await delegation.client(first).post("\(path)/other/exec", ExecRequest(command: "echo here"))
            #expect(try answer.json(ExecResponse.self).output == "here\n", "\(answer.text)")

            first.signal(SIGKILL)
            _ = await first.ended()
            let second = try await delegation.start()
            #expect(try await run("cat kept", second).output == "kept\n")
            #expect(try await record() == before)
            for name in ["box", "other"] {
                _ = try await delegation.client(second).send("DELETE", "\(path)/\(name)")
                try await eventually("'\(name)' is gone") {
                    try await delegation.client(second).get("\(path)/\(name)").status != 200
                }
            }
            await pool.close()
            await second.stop()
        }
    }
}

import Core
import Foundation
import Testing
import TestSupport

@testable import Postgres

/// Real clusters, durable settings, one per test.
@Suite(.serialized, .timeLimit(.minutes(2))) struct EmbeddedPostgresTests {
    private func withFolder(_ name: String = UUID().uuidString, _ body: (String) async throws -> Void) async throws {
        let root = "/tmp/slipway-embedded-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: root) }
        try await body(root + "/" + name)
    }

    private func answer(_ server: EmbeddedPostgres) async throws -> Int {
        let pool = PostgresPool(
            configuration: .init(url: server.connectionURL, maxConnections: 1, acquireTimeout: .seconds(20)), logger: .silent)
        do {
            let value = try await pool.query("SELECT 42::int8 AS n")[0]["n", as: Int.self]
            await pool.close()
            return value
        } catch {
            await pool.close()
            throw error
        }
    }

    @Test func `a new cluster is private, durable and quick, an old one quicker`() async throws {
        try await withFolder { folder in
            let clock = ContinuousClock()
            var server: EmbeddedPostgres?
            let fresh = try await clock.measure {
                server = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            }
            let first = try #require(server)
            #expect(try await answer(first) == 42)
            #expect(getsid(first.processID) == first.processID, "Ctrl-C at our terminal would reach it")
            #expect(getsid(first.processID) != getsid(0))
            for (path, mode) in [("data", 0o700), ("run", 0o700), ("password", 0o600)] {
                let found = try FileManager.default.attributesOfItem(atPath: folder + "/" + path)[.posixPermissions] as? Int
                #expect(found == mode, "\(path)")
            }
            let pool = PostgresPool(configuration: .init(url: first.connectionURL, maxConnections: 1), logger: .silent)
            let row = try await pool.query(
                """
                SELECT current_setting('data_checksums') AS checksums, current_setting('fsync') AS fsync,
                    current_setting('synchronous_commit') AS sync, current_setting('listen_addresses') AS addresses,
                    (SELECT rolpassword FROM pg_authid WHERE rolname = current_user) AS password
                """)[0]
            #expect(try row["checksums", as: String.self] == "on")
            #expect(try row["fsync", as: String.self] == "on")
            #expect(try row["sync", as: String.self] == "on")
            #expect(try row["addresses", as: String.self] == "")
            #expect(try row["password", as: String.self].hasPrefix("SCRAM-SHA-256$"))
            await pool.close()

            let wrong = Secret(first.connectionURL.reveal() + "x")
            await #expect(throws: PostgresError.self) { try await Connector.connect(.init(url: wrong)) }
            await first.stop()
            await first.stop()
            #expect(kill(first.processID, 0) != 0)

            let again = try await clock.measure {
                server = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            }
            #expect(try await answer(try #require(server)) == 42)
            await server?.stop()
            print("embedded cluster: new \(fresh), again \(again)")
            #expect(fresh < .seconds(12), "\(fresh)")
            #expect(again < .seconds(3), "\(again)")
        }
    }

    @Test func `a second server on the same folder is refused and told who holds it`() async throws {
        try await withFolder { folder in
            let server = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            let error = await #expect(throws: AppError.self) {
                try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            }
            #expect(error?.message.contains("Another server (process \(getpid())) uses \(folder)") == true)
            #expect(try await answer(server) == 42)
            await server.stop()
        }
    }

    @Test func `a postmaster left behind is adopted, not started twice`() async throws {
        try await withFolder { folder in
            // What a server that was killed leaves: a running postmaster and a lock that nobody holds.
            let left = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent, isShared: true)
            let server = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            #expect(server.processID == left.processID)
            #expect(try await answer(server) == 42)
            await server.stop()
            #expect(kill(left.processID, 0) != 0)
        }
    }

    @Test func `a stale pid file that names another process does not hinder the start`() async throws {
        try await withFolder { folder in
            let first = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            await first.stop()
            try "\(getpid())\n\(folder)/data\n1\n5432\n\(folder)/run\n\n  1 2\nready   \n"
                .write(toFile: folder + "/data/postmaster.pid", atomically: false, encoding: .utf8)
            let second = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            #expect(try await answer(second) == 42)
            await second.stop()
        }
    }

    @Test func `a postmaster that is killed is started again and the pool goes on`() async throws {
        try await withFolder { folder in
            let server = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            let pool = PostgresPool(
                configuration: .init(url: server.connectionURL, maxConnections: 2, acquireTimeout: .seconds(30)), logger: .silent)
            try await pool.execute("CREATE TABLE t (n int)")
            try await pool.execute("INSERT INTO t VALUES (1)")
            let killed = server.processID
            kill(killed, SIGKILL)
            var rows: [Row] = []
            try await eventually("it is started again") { server.processID != killed }
            while rows.isEmpty {
                do { rows = try await pool.query("SELECT n FROM t") } catch let error as PostgresError where error.isConnectionLost
                {}
            }
            #expect(try rows[0]["n", as: Int.self] == 1)
            await pool.close()
            await server.stop()
        }
    }

    @Test func `a folder too deep for a socket gets a short one`() async throws {
        try await withFolder(String(repeating: "deep/", count: 25) + "end") { folder in
            let server = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            #expect(try await answer(server) == 42)
            await server.stop()
            let short = ClusterFolder.socketDirectory(for: folder, uid: 1)
            #expect((short + "/.s.PGSQL.5432").utf8.count <= 107)
            let real = ClusterFolder.socketDirectory(for: folder, uid: try SystemUser.forCluster(at: folder + "/data").uid)
            try FileManager.default.removeItem(atPath: real)
        }
    }

    @Test(.enabled(if: geteuid() == 0)) func `a data directory that only root can reach works and stays closed`() async throws {
        try await withFolder("closed/data") { folder in
            let closed = (folder as NSString).deletingLastPathComponent
            try FileManager.default.createDirectory(atPath: closed, withIntermediateDirectories: true)
            chmod(closed, 0o700)
            let left = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent, isShared: true)
            #expect(try await answer(left) == 42)
            let server = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            #expect(server.processID == left.processID, "it was not adopted")
            let user = try SystemUser.forCluster(at: folder + "/data")
            let owner = try FileManager.default.attributesOfItem(atPath: "/proc/\(server.processID)")[.ownerAccountID] as? Int
            #expect(owner == Int(user.uid) && owner != 0)
            #expect(try FileManager.default.attributesOfItem(atPath: closed)[.posixPermissions] as? Int == 0o700)
            #expect(try FileManager.default.contentsOfDirectory(atPath: "/mnt").contains("data.new") == false)
            await server.stop()
        }
    }

    @Test func `a folder that is closed is named with what to do`() {
        let view = FolderView(folder: "/root/x", user: .init(name: "postgres", uid: 1, gid: 1), closed: "/root")
        #expect(view.refusal.message.contains("The folder /root is closed to the user postgres"))
        #expect(view.refusal.message.contains("chmod o+x /root;"))
    }

    @Test func `missing programs are named with the package to install`() {
        let error = #expect(throws: AppError.self) { try PostgresBinaries.find(version: nil, root: "/nonexistent") }
        #expect(error?.message.contains("apt-get install postgresql") == true)
        let old = #expect(throws: AppError.self) { try PostgresBinaries.find(version: 9) }
        #expect(old?.message.contains("apt-get install postgresql-9") == true)
    }

    @Test func `a start that is cancelled leaves no process and no half-made cluster`() async throws {
        try await withFolder { folder in
            let start = Task { try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent) }
            try await eventually("the cluster is being made") {
                FileManager.default.fileExists(atPath: folder + "/data.new/base")
            }
            start.cancel()
            await #expect(throws: CancellationError.self) { _ = try await start.value }
            #expect(!FileManager.default.fileExists(atPath: folder + "/data"))
            let server = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            #expect(try await answer(server) == 42)
            await server.stop()
        }
    }

    @Test func `an interrupted initdb is done again`() async throws {
        try await withFolder { folder in
            try FileManager.default.createDirectory(atPath: folder + "/data.new/base", withIntermediateDirectories: true)
            let server = try await EmbeddedPostgres.start(dataDirectory: folder, logger: .silent)
            #expect(try await answer(server) == 42)
            await server.stop()
        }
    }
}

import Core
import Crypto
import Foundation
import Logging
import Postgres
import Schema

/// The PostgreSQL that all test processes of a user share: started by the first, left running, without fsync.
package actor TestCluster {
    package static let shared = TestCluster()

    private var running: Task<Running, any Error>?

    func cluster() async throws -> Running {
        if let running { return try await running.value }
        let task = Task { try await Running.start() }
        running = task
        return try await task.value
    }

    final class Running: Sendable {
        private let server: EmbeddedPostgres
        private let admin: PostgresPool
        private let template: String
        private let counter = Counter()

        private actor Counter {
            var value = 0
            func next() -> Int {
                value += 1
                return value
            }
        }

        static func start() async throws -> Running {
            let server = try await EmbeddedPostgres.start(
                dataDirectory: "/tmp/slipway-test-cluster-\(geteuid())", logger: .silent,
                settings: [
                    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "500",
                    "shared_buffers": "64MB", "max_wal_size": "256MB", "autovacuum": "off",
                ], isShared: true)
            let running = Running(server)
            try await running.removeLeftovers()
            try await running.makeTemplate()
            return running
        }

        private init(_ server: EmbeddedPostgres) {
            self.server = server
            admin = PostgresPool(
                configuration: .init(url: server.connectionURL, maxConnections: 4, acquireTimeout: .seconds(60)), logger: .silent)
            var hash = SHA256()
            for migration in Schema.migrations {
                hash.update(data: Data("\(migration.number) \(migration.name)\n\(migration.sql)".utf8))
            }
            template = "template_" + Data(hash.finalize()).hex.prefix(24)
        }

        func create(migrated: Bool) async throws -> TestDatabase {
            let name = "test_\(getpid())_\(await counter.next())"
            _ = try await admin.execute(
                "CREATE DATABASE \(unsafeSQL: name) TEMPLATE \(unsafeSQL: migrated ? template : "template0") STRATEGY WAL_LOG")
            return TestDatabase(name: name, url: url(name))
        }

        func drop(_ database: TestDatabase) async throws {
            _ = try await admin.execute("DROP DATABASE IF EXISTS \(unsafeSQL: database.name) WITH (FORCE)")
        }

        private func url(_ database: String) -> String {
            server.connectionURL.reveal().replacingOccurrences(of: "///postgres?", with: "///\(database)?")
        }

        /// Databases of test processes that are gone.
        private func removeLeftovers() async throws {
            let names = try await admin.query("SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'").map {
                try $0["datname", as: String.self]
            }
            for name in names {
                let parts = name.split(separator: "_")
                guard parts.count == 3, let pid = pid_t(parts[1]), pid != getpid(), kill(pid, 0) != 0, errno == ESRCH else {
                    continue
                }
                _ = try? await admin.execute("DROP DATABASE IF EXISTS \(unsafeSQL: name) WITH (FORCE)")
            }
        }

        private func makeTemplate() async throws {
            try await admin.withConnection { connection in
                _ = try await connection.query("SELECT pg_advisory_lock(7)")
                let exists = try await !connection.query("SELECT 1 FROM pg_database WHERE datname = \(template)").isEmpty
                if !exists {
                    let draft = "draft_\(getpid())"
                    _ = try await connection.execute("DROP DATABASE IF EXISTS \(unsafeSQL: draft) WITH (FORCE)")
                    _ = try await connection.execute("CREATE DATABASE \(unsafeSQL: draft) TEMPLATE template0")
                    let pool = PostgresPool(configuration: .init(url: Secret(url(draft)), maxConnections: 1), logger: .silent)
                    do { try await Migrator(pool: pool).migrate(Schema.migrations) } catch {
                        await pool.close()
                        _ = try? await connection.query("SELECT pg_advisory_unlock(7)")
                        throw error
                    }
                    await pool.close()
                    _ = try await connection.execute("ALTER DATABASE \(unsafeSQL: draft) RENAME TO \(unsafeSQL: template)")
                }
                _ = try await connection.query("SELECT pg_advisory_unlock(7)")
            }
        }
    }
}

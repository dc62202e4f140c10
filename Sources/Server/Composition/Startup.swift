import Core
import Foundation
import Hummingbird
import Logging
import Postgres
import Schema

/// The composition root: starts the parts one after the other and tells the lifecycle how each is closed.
struct Startup: Sendable {
    let configuration: Configuration
    /// Set when root started this server and it has given that up.
    var privileged: PrivilegedLauncherOutcome?
    let lifecycle: Lifecycle
    let logger: Logger
    /// Takes what is to be done at SIGHUP; without TLS nothing is, and the signal ends the server as others do.
    var onHangup: @Sendable (@escaping @Sendable () -> Void) -> Void = { _ in }

    /// The open database of this server.
    struct Database: Sendable {
        var pool: PostgresPool
        /// The gateway's own few connections: model calls never wait behind a list that somebody looks at.
        var calls: PostgresPool
        /// One connection for the heartbeat alone: whoever lives is not to look dead since others keep all connections busy.
        var heartbeat: PostgresPool
    }

    /// For holds, settlements, content and flushes: each has one transaction under way at a time.
    private static let callConnections = 4

    func run() async throws {
        let begin = ContinuousClock.now
        // Before anything is started: a wrong file is told at once.
        let certificate = try loadCertificate()
        try DataDirectory.make(configuration.dataDirectory)
        let readiness = Readiness()
        let database = try await openDatabase()
        let pool = database.pool
        let ring = try KeyRingSource.load(configuration)
        try await KeyRingSource.check(ring, pool)

        let host = try HostID.load(configuration.dataDirectory)
        let replica = try await Replica.register(
            database.heartbeat, internalURL: configuration.effectiveAccessURL, host: host, keyPrints: ring.prints, logger: logger)
        lifecycle.run(.heartbeat, stop: { await replica.leave() }) { await replica.run() }
        let disk = DiskWatch(path: configuration.dataDirectory, logger: logger)
        lifecycle.run(.reconcilers) { await disk.run() }
        // First: a full disk is also why the database does not answer.
        readiness.require { disk.problem }
        readiness.require { replica.silence > .seconds(5) ? "the database does not answer" : nil }

        let services = try await startServices(database, ring: ring, replica: replica, host: host, readiness: readiness)
        let router = try services.router()

        try Task.checkCancellation()
        let listener = try Listener(
            configuration: configuration, router: router, calls: services.calls, certificate: certificate, logger: logger)
        lifecycle.started(.connections) { await listener.close() }
        let port = try await listener.start()
        lifecycle.started(.listener) { listener.stopAccepting() }
        lifecycle.started(.readiness) {
            readiness.drain()
            if configuration.drainDelay > .zero { try? await Task.sleep(for: configuration.drainDelay) }
        }
        readiness.started()
        try await announce(port: port, users: services.users, took: begin.duration(to: .now))
    }

    private func loadCertificate() throws -> ServerCertificate? {
        guard let file = configuration.tlsCertificate, let key = configuration.tlsKey else { return nil }
        let certificate = try ServerCertificate(certificate: file, key: key, logger: logger)
        onHangup { certificate.reload() }
        lifecycle.run(.settings) { await certificate.watch() }
        return certificate
    }

    private func openDatabase() async throws -> Database {
        var url = configuration.postgresURL
        if url == nil {
            let cluster = try await EmbeddedPostgres.start(dataDirectory: configuration.dataDirectory + "/postgres", logger: logger)
            lifecycle.started(.cluster) { await cluster.stop() }
            url = cluster.connectionURL
        }
        try Task.checkCancellation()
        var settings = PostgresConfiguration(
            url: url ?? Secret(""), maxConnections: max(2, configuration.postgresConnections - Self.callConnections - 1))
        let pool = PostgresPool(configuration: settings, logger: logger)
        lifecycle.started(.pool) { await pool.close() }
        settings.maxConnections = 1
        let heartbeat = PostgresPool(configuration: settings, logger: logger)
        lifecycle.started(.pool) { await heartbeat.close() }
        settings.maxConnections = Self.callConnections
        // Statements stay prepared and planned for long. What was planned while a table was small must not scan it when it has grown.
        settings.settings = ["enable_seqscan": "off", "enable_bitmapscan": "off", "plan_cache_mode": "force_generic_plan"]
        let calls = PostgresPool(configuration: settings, logger: logger)
        lifecycle.started(.pool) { await calls.close() }
        logger.debug("Connecting to the database.")
        do {
            try await Migrator(pool: pool).migrate(Schema.migrations)
        } catch let error as PostgresError {
            throw AppError(.unavailable, "The database cannot be used: \(error.message).", field: "postgres-url", cause: error)
        }
        return Database(pool: pool, calls: calls, heartbeat: heartbeat)
    }

    private func announce(port: Int, users: UserService, took: Duration) async throws {
        var shown = configuration
        shown.listen.port = port
        logger.notice("Slipway \(SlipwayVersion.current) is ready at \(shown.effectiveAccessURL) after \(took.milliseconds) ms.")
        if configuration.isExposedWithoutTLS {
            logger.warning(
                "Listening on \(configuration.listen) without TLS: tokens and passwords cross the network in clear. Use --tls-cert and --tls-key, or a proxy."
            )
        }
        if let code = try await users.makeSetupCode() {
            logger.notice(
                "There is no user yet. Create the first one at \(shown.effectiveAccessURL)/ with the one-time set-up code \(code.reveal())"
            )
        }
    }
}

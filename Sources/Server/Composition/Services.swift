import Core
import Hummingbird
import Logging
import Postgres

/// Everything that routes and pages call, started and wired.
package struct Services: Sendable {
    package let configuration: Configuration
    package let pool: PostgresPool
    package let readiness: Readiness
    package let metrics: Metrics
    package let snapshot: CredentialSnapshot
    package let users: UserService
    package let tokens: TokenService
    package let files: FileStore
    package let authenticator: Authenticator
    package let logger: Logger

    static func start(
        configuration: Configuration, pool: PostgresPool, ring: KeyRing, replica: Replica, readiness: Readiness,
        lifecycle: Lifecycle,
        logger: Logger
    ) async throws -> Services {
        let snapshot = CredentialSnapshot(pool: pool, logger: logger)
        try await snapshot.load()
        lifecycle.run(.settings) { await snapshot.run() }
        let passwords = Passwords()
        lifecycle.started(.settings) { await passwords.close() }
        let users = UserService(pool: pool, passwords: passwords, logger: logger)
        let authenticator = Authenticator(
            snapshot: snapshot, users: users, cookie: SessionCookie(isSecure: configuration.effectiveAccessURL.hasPrefix("https:")),
            accessURL: configuration.effectiveAccessURL)
        return Services(
            configuration: configuration, pool: pool, readiness: readiness, metrics: Metrics(), snapshot: snapshot, users: users,
            tokens: TokenService(pool: pool), files: FileStore(pool: pool), authenticator: authenticator, logger: logger)
    }

    func router() -> Router<SlipwayContext> {
        let router = Router(context: SlipwayContext.self)
        router.add(middleware: RequestMiddleware(metrics: metrics, trustedProxies: configuration.trustedProxies, logger: logger))
        register(on: RouteTable(router: router, authenticator: authenticator))
        return router
    }

    /// All routes of the server; a noun's own file says which.
    func register(on table: RouteTable) {
        HealthRoutes(readiness: readiness, metrics: metrics).register(on: table)
        UserRoutes(users: users, tokens: tokens, authenticator: authenticator).register(on: table)
        TokenRoutes(tokens: tokens).register(on: table)
        FileRoutes(files: files).register(on: table)
        // Pages are registered here, with `table.page(…)` for who has logged in and `table.open(…)` for the log-in page.
    }
}

import Core
import Logging
import NIOConcurrencyHelpers
import Postgres

/// Keeps `Settings` at most two seconds behind the database, and refuses to hand them out when it cannot know.
final class SettingsCache: Sendable {
    /// Older than this, nothing is decided by them any more.
    static let longestAge = Duration.seconds(10)
    static let pollInterval = Duration.seconds(1)

    private struct State {
        var settings: Settings?
        var checkedAt: ContinuousClock.Instant?
    }

    private let pool: PostgresPool
    private let providers: ProviderStore
    private let policies: PolicyStore
    private let routes: ModelRouteStore
    private let prices: PriceStore
    private let fixedProviders: [Provider]
    private let book: PriceBook
    private let budgets: BudgetStates
    /// Whether this server keeps policies in files.
    let hasPolicyFolder: Bool
    private let logger: Logger
    private let now: @Sendable () -> ContinuousClock.Instant
    private let state = NIOLockedValueBox(State())

    init(
        pool: PostgresPool, providers: ProviderStore, policies: PolicyStore, routes: ModelRouteStore, prices: PriceStore,
        fixedProviders: [Provider],
        book: PriceBook, hasPolicyFolder: Bool = false, logger: Logger,
        now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.pool = pool
        self.providers = providers
        self.policies = policies
        self.routes = routes
        self.prices = prices
        self.fixedProviders = fixedProviders
        self.book = book
        self.hasPolicyFolder = hasPolicyFolder
        budgets = BudgetStates(pool: pool)
        self.logger = logger
        self.now = now
    }

    /// - Throws: `unavailable` when the database could not be asked for ten seconds: a revoked right might still be in there.
    func current() throws -> Settings {
        let state = state.withLockedValue { $0 }
        guard let settings = state.settings, let checkedAt = state.checkedAt, checkedAt.duration(to: now()) <= Self.longestAge
        else {
            throw AppError(
                .unavailable, "The gateway cannot read its settings from the database; it refuses calls until it can.",
                retry: .after(.seconds(2)))
        }
        return settings
    }

    /// Reads everything again.
    func refresh() async throws {
        let began = now()
        let settings = try await pool.withSnapshot { connection in
            let version = try await connection.query("SELECT version FROM settings_version")[0]["version", as: Int64.self]
            let stored = try await providers.all(connection)
            let policies = try await policies.all(connection)
            let routes = try await routes.all(connection)
            var book = book
            for (organization, price) in try await prices.custom(connection) { book.add(price, for: organization) }
            let modes = try await RecordRules.contentModes(connection)
            var settings = Settings(
                version: version, providers: fixedProviders + stored, policies: policies, routes: routes, prices: book,
                contentModes: modes)
            settings.governance = try await Governance.read(connection)
            settings.budgets = budgets
            settings.injection = try await InjectionOffer.read(connection)
            return settings
        }
        if settings.policies.sets.values.contains(where: \.needsBudgets) { try await budgets.refresh() }
        state.withLockedValue { state in
            // A slower reading that began earlier must not put older settings back.
            if let known = state.settings, known.version > settings.version { return }
            state.settings = settings
            state.checkedAt = max(state.checkedAt ?? began, began)
        }
    }

    /// Looks whether there is a newer version, and reads it.
    func poll() async throws {
        let began = now()
        let version = try await pool.query("SELECT version FROM settings_version")[0]["version", as: Int64.self]
        let isCurrent = state.withLockedValue { state in
            guard state.settings?.version == version else { return false }
            state.checkedAt = began
            return true
        }
        if !isCurrent { return try await refresh() }
        let needsBudgets = state.withLockedValue { $0.settings?.policies.sets.values.contains(where: \.needsBudgets) == true }
        if needsBudgets { try await budgets.refresh() }
    }

    /// Polls until cancelled.
    func run() async {
        var failed = false
        while !Task.isCancelled {
            do {
                try await poll()
                if failed { logger.info("gateway settings are current again") }
                failed = false
            } catch {
                if !failed, !Task.isCancelled { logger.warning("gateway settings cannot be read", metadata: ["error": "\(error)"]) }
                failed = true
            }
            try? await Task.sleep(for: Self.pollInterval)
        }
    }
}

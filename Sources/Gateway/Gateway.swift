import Core
import HTTPTransport
import Logging
import ModelAPI
import Postgres
import ServiceLifecycle

/// Every model call of Slipway passes here: decided, held, recorded, relayed and settled. Nothing is answered before it is on
/// record, nothing is spent that was not held.
package final class Gateway: Service {
    let configuration: GatewayConfiguration
    let settings: SettingsCache
    let admission: Admission
    let holds: HoldLoop
    let gate: HoldGate
    let alerts: BudgetAlerts
    let settle: SettleLoop
    let flush: FlushLoop
    let contentStore: ContentStore
    let content: ContentLoop
    let calls: AuditChain
    let threads = ThreadMemory()
    let open = OpenCalls()
    let relays = OpenRelays()
    /// What every call's record needs.
    let callServices: CallRecord.Services
    let keyed = KeyedCalls()
    /// How the first calls of keys ended, for all who wait for them here with one query.
    let keyEnds: Batcher<InterceptionID, KeyRule.First?>
    let meters: Meters
    let cacheAlarm: CacheAlarm
    let reaper: Reaper
    let health = TargetHealth()
    let hedges = Hedges()
    private let keyRests: KeyRests
    private let priceStore: PriceStore

    package let providers: ProviderService
    package let policies: PolicyService
    package let routes: ModelRouteService
    package let modelPolicies: ModelPolicyService
    package let prices: PriceService
    package let rerating: RerateService
    package let invoices: InvoiceService
    package let budgets: BudgetService
    package let limits: RateLimitService
    package let interceptions: InterceptionStore
    package let facts: AuditFacts
    package let tools: ToolGateway
    let hiddenTurns: HiddenTurns
    package let checkpoints: Checkpoints
    package let audit: AuditStore
    package let spend: SpendStore
    package let sinks: SinkService
    private let sinkLoop: SinkLoop
    package let spendFollower: SpendFollower
    package let texts: TextFollower
    package let prover: AuditProver
    package let rules: RecordRuleService
    package let legalHolds: LegalHoldService
    package let retention: Retention

    package init(_ configuration: GatewayConfiguration) {
        self.configuration = configuration
        let pool = configuration.pool
        let logger = configuration.logger
        let providerStore = ProviderStore(keys: configuration.keys)
        let policyStore = PolicyStore(pool: pool)
        let routeStore = ModelRouteStore()
        priceStore = PriceStore(pool: pool)
        settings = SettingsCache(
            pool: pool, providers: providerStore, policies: policyStore, routes: routeStore, prices: priceStore,
            fixedProviders: configuration.fixedProviders,
            book: configuration.prices, hasPolicyFolder: configuration.policyFolder != nil, logger: logger)
        admission = Admission(limits: configuration.limits)
        meters = Meters(configuration.metrics, namesUsers: configuration.namesUsers)
        cacheAlarm = CacheAlarm(
            pool: pool, contents: ContentStore(pool: pool), metrics: configuration.metrics, logger: logger)

        calls = AuditChain(.calls, replica: configuration.replica)
        let ledger = AuditChain(.ledger, replica: configuration.replica)
        let factChain = AuditChain(.facts, replica: configuration.replica)
        facts = AuditFacts(pool: pool, chain: factChain)
        tools = ToolGateway(configuration, facts: facts, settings: settings)
        hiddenTurns = HiddenTurns(pool: pool, keys: configuration.keys, settings: settings)
        let settle = SettleLoop(pool: configuration.calls, chain: ledger, logger: logger)
        self.settle = settle
        let alerts = BudgetAlerts(pool: pool, facts: facts, metrics: configuration.metrics, logger: logger)
        self.alerts = alerts
        let holds = HoldLoop(pool: configuration.calls, chain: calls, patience: configuration.patience, alerts: alerts) {
            request, found in
            settle.settle(Settlement(neverSent: request.interception, found))
        }
        self.holds = holds
        let gate = HoldGate(holds: holds, settings: settings, limits: configuration.limits)
        self.gate = gate
        settle.onBooked { settled in
            alerts.look(settled)
            gate.released(settled)
        }
        contentStore = ContentStore(pool: pool)
        content = ContentLoop(store: ContentStore(pool: configuration.calls), metrics: configuration.metrics, logger: logger)
        let content = content
        callServices = CallRecord.Services(
            admission: admission, settle: settle, content: content, threads: threads, open: open, relays: relays, meters: meters,
            cacheAlarm: cacheAlarm)
        flush = FlushLoop(
            pool: configuration.calls, chains: [calls, ledger], patience: configuration.patience, logger: logger,
            onFlush: { reached in if let n = reached[ledger.id] { settle.confirm(upTo: n) } },
            onLoss: {
                content.forgetStored()
                holds.recheck()
                settle.recheck()
            })
        keyEnds = Batcher(largest: 1000) { ids in
            do {
                let firsts = try await KeyStore.firsts(ids, pool)
                return ids.map { .success(firsts[$0]) }
            } catch {
                return ids.map { _ in .failure(error) }
            }
        }
        reaper = Reaper(
            pool: configuration.calls, settle: settle, contents: contentStore, replica: configuration.replica,
            contact: configuration.contact, logger: logger)

        providers = ProviderService(store: providerStore, settings: settings, facts: facts)
        keyRests = KeyRests(pool: pool, health: health, logger: logger)
        routes = ModelRouteService(store: routeStore, settings: settings, facts: facts)
        policies = PolicyService(store: policyStore, settings: settings, facts: facts)
        modelPolicies = ModelPolicyService(store: ModelPolicyStore(), settings: settings, facts: facts)
        prices = PriceService(store: priceStore, settings: settings, facts: facts)
        rerating = RerateService(
            store: CorrectionStore(pool: pool, chain: AuditChain(.ledger, replica: configuration.replica)), settings: settings,
            facts: facts)
        invoices = InvoiceService(pool: pool, settings: settings)
        budgets = BudgetService(pool: pool, settings: settings, facts: facts)
        limits = RateLimitService(store: RateLimitStore(pool: pool), settings: settings, facts: facts)
        interceptions = InterceptionStore(pool: pool, contents: contentStore)
        checkpoints = Checkpoints(pool: pool, keys: configuration.keys, schedule: configuration.checkpoints, logger: logger)
        audit = AuditStore(pool: pool, contents: contentStore)
        let replay = ReplayUpstream(pool: pool, contents: contentStore)
        configuration.transport.answer(scheme: ReplayAddress.scheme) { try await replay.answer($0) }
        spend = SpendStore(pool: pool)
        let delivery = SinkDelivery(transport: configuration.transport)
        sinks = SinkService(pool: pool, keys: configuration.keys, facts: facts, delivery: delivery)
        sinkLoop = SinkLoop(
            pool: pool, keys: configuration.keys, delivery: delivery, replica: configuration.replica, logger: logger)
        spendFollower = SpendFollower(pool: pool, logger: logger)
        texts = TextFollower(pool: pool, logger: logger)
        prover = AuditProver(pool: pool, checkpoints: checkpoints)
        rules = RecordRuleService(pool: pool, settings: settings, facts: facts)
        legalHolds = LegalHoldService(pool: pool, facts: facts)
        retention = Retention(pool: pool, facts: facts, logger: logger)
        observe(configuration.metrics)
    }

    /// Puts the price book on record and reads the settings: afterwards calls can be made.
    package func start() async throws {
        try await priceStore.register(configuration.prices.book)
        try await settings.refresh()
    }

    /// `start()` if it was not called, then the background work until the service is cancelled. Calls work only while it runs.
    package func run() async throws {
        if (try? settings.current()) == nil { try await start() }
        await cancelWhenGracefulShutdown { [self] in
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.settings.run() }
                group.addTask { await self.every(.milliseconds(200)) { self.tick() } }
                group.addTask { await self.every(.seconds(1)) { for call in self.open.all { call.writeContent() } } }
                group.addTask { await self.every(.seconds(1)) { for relay in self.relays.all { relay.tick(at: .now) } } }
                group.addTask { await self.every(.seconds(1)) { await self.reap() } }
                group.addTask { await self.every(.seconds(1)) { await self.keyRests.exchange() } }
                group.addTask { await self.every(.seconds(60)) { try? await KeyStore.sweep(self.configuration.pool) } }
                group.addTask { await self.every(.seconds(600)) { await self.hiddenTurns.sweep() } }
                group.addTask { await self.checkpoints.run() }
                group.addTask { await self.tools.run() }
                group.addTask { await self.retention.run() }
                group.addTask { await self.spendFollower.run() }
                group.addTask { await self.texts.run() }
                group.addTask { await self.sinkLoop.run() }
            }
        }
    }

    /// The text of `/metrics` for what the gateway counts.
    package func metrics() -> String { configuration.metrics.text() }

    /// How many calls are under way.
    package var inFlight: Int { admission.inFlight }

    /// Phase 2 of the shutdown: takes no new calls, lets those under way finish within `grace`, then cuts them with a proper end;
    /// settles, flushes and checkpoints everything. May be called more than once.
    package func drain(grace: Duration) async {
        admission.close()
        async let toolsEnd: Void = tools.drain(grace: grace)
        gate.close()
        if admission.inFlight > 0 {
            await withTaskGroup(of: Bool.self) { group in
                group.addTask {
                    await self.admission.empty()
                    return true
                }
                group.addTask {
                    try? await Task.sleep(for: grace)
                    // Stragglers are cut; each then ends by itself.
                    if !Task.isCancelled { await self.cutAll() }
                    return false
                }
                _ = await group.next()
                group.cancelAll()
                // `empty` cannot be cancelled: it returns when the cut calls have ended, or after the second bound below.
            }
        }
        await toolsEnd
        await finishWrites()
    }

    private func cutAll() async {
        for relay in relays.all { relay.stop("The server is shutting down; try again, another one will answer.") }
        // A reader that does not read any more cannot take its end: it is settled without it.
        let deadline = ContinuousClock.now + .seconds(1)
        while admission.inFlight > 0, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(20)) }
        for call in open.all { call.end(.stopped("the server is shutting down")) }
    }

    /// Bounded, also when the database hangs: what it does not take then is said in the log.
    private func finishWrites() async {
        holds.resolveDoubts()
        let isWritten = await Deadline.within(Self.patience) { [self] in
            await holds.idle()
            settle.tryAgain()
            await settle.idle()
            await content.idle()
            await alerts.idle()
            await facts.idle()
            try? await flush.wait()
            _ = try? await checkpoints.makeIfNeeded()
        }
        if isWritten, settle.unbooked == 0 { return }
        settle.giveUp()
        content.giveUp()
        configuration.logger.error(
            "The database did not take everything before the end: calls that are not booked are booked by the next server, at what was held for them.",
            metadata: ["unbooked_calls": "\(settle.unbooked)"])
    }

    /// How long the database may take for the last writes.
    private static let patience = Duration.seconds(3)

    private func tick() {
        flush.expire()
        holds.expire()
        admission.expire()
        gate.tick()
        settle.tick(at: .now)
        if flush.isBehind { flush.post() }
    }

    private func reap() async {
        holds.resolveDoubts()
        do { _ = try await reaper.reap() } catch {
            configuration.logger.debug("the reaper failed", metadata: ["error": "\(error)"])
        }
    }

    private func every(_ interval: Duration, _ action: @Sendable () async -> Void) async {
        while !Task.isCancelled {
            await action()
            try? await Task.sleep(for: interval)
        }
    }

    private func observe(_ metrics: Metrics) {
        let (admission, settle) = (admission, settle)
        metrics.observe("slipway_gateway_interceptions_inflight", "Model calls under way.") { Double(admission.inFlight) }
        let gate = gate
        metrics.observe("slipway_gateway_waiting", "Model calls that wait for a place, in this process or under a limit.") {
            Double(admission.waiting + gate.waiting)
        }
        metrics.observe("slipway_gateway_pending_settlements", "Ended calls that are not booked yet.") { Double(settle.pending) }
    }
}

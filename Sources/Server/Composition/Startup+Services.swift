import AgentLoop
import Core
import DemoModel
import Foundation
import Gateway
import HTTPTransport
import Logging
import NIOConcurrencyHelpers
import Postgres
import Provisioning
import ServiceLifecycle
import Telemetry
import Workspaces

extension Startup {
    /// Starts everything between the database and the listener, each part with the way it is closed.
    func startServices(_ database: Database, ring: KeyRing, replica: Replica, host: String, readiness: Readiness) async throws
        -> Services
    {
        let pool = database.pool
        let metrics = Metrics()
        let goingAway = GoingAway()
        lifecycle.started(.eventStreams) { goingAway.set() }

        let snapshot = CredentialSnapshot(pool: pool, logger: logger)
        try await snapshot.load()
        lifecycle.run(.settings) { await snapshot.run() }
        let passwords = Passwords()
        lifecycle.started(.settings) { await passwords.close() }
        let notifications = startNotifications(database)
        try Task.checkCancellation()
        let transport = HTTPTransport(logger: logger)
        lifecycle.started(.transport) { await transport.shutdown() }
        let tracer = try startTracing(replica, transport, metrics)
        let gateway = try await startGateway(
            database, ring: ring, replica: replica, transport: transport, metrics: metrics, tracer: tracer)
        try await IdentityFacts.takeOver(gateway.facts)
        let users = UserService(pool: pool, facts: gateway.facts, passwords: passwords, logger: logger)
        let authenticator = Authenticator(
            snapshot: snapshot, users: users,
            cookie: SessionCookie(isSecure: configuration.effectiveAccessURL.hasPrefix("https:")),
            accessURL: configuration.effectiveAccessURL)
        try Task.checkCancellation()
        let workspaces = try await startWorkspaces(pool, replica: replica, host: host, notifications)
        try Task.checkCancellation()
        let tasks = try startLoop(
            pool, replica: replica, gateway: gateway, workspaces: workspaces, metrics: metrics, tracer: tracer, notifications)
        let files = FileStore(pool: pool, largest: configuration.maxUpload.bytes)
        lifecycle.run(.reconcilers) { [logger] in await files.keepTidy(logger) }
        return Services(
            configuration: configuration, readiness: readiness, goingAway: goingAway, metrics: metrics, users: users,
            tokens: TokenService(pool: pool, facts: gateway.facts),
            groups: GroupService(store: GroupStore(pool: pool, facts: gateway.facts), users: users),
            files: files, authenticator: authenticator, gateway: gateway,
            tasks: tasks,
            interceptions: InterceptionDesk(gateway: gateway, users: users), audit: AuditDesk(gateway: gateway),
            keys: KeyDesk(pool: pool, ring: ring, facts: gateway.facts),
            workspaces: WorkspaceDesk(workspaces: workspaces, logs: workspaces.logs), logger: logger)
    }

    private func startNotifications(_ database: Database) -> PostgresListener? {
        guard configuration.notifications else { return nil }
        let listener = PostgresListener(configuration: database.pool.configuration, logger: logger)
        lifecycle.run(.reconcilers, stop: { listener.close() }) { try await listener.run() }
        return listener
    }

    /// Nil where no collector is configured: then nothing is traced.
    private func startTracing(_ replica: Replica, _ transport: HTTPTransport, _ metrics: Metrics) throws -> Tracer? {
        guard
            let tracing = try Tracing(configuration, replica: replica.id, transport: transport, metrics: metrics, logger: logger)
        else { return nil }
        lifecycle.run(.telemetry, stop: { await tracing.exporter.close(within: Tracing.closingTime) }) {
            await tracing.exporter.run()
        }
        return tracing.tracer
    }

    private func startGateway(
        _ database: Database, ring: KeyRing, replica: Replica, transport: HTTPTransport, metrics: Metrics, tracer: Tracer?
    ) async throws -> Gateway {
        var providers = try EnvironmentProviders.read(ProcessInfo.processInfo.environment, organization: .default)
        if configuration.demoModel {
            providers += EnvironmentProviders.demo(baseURL: try await startDemoModel(), organization: .default)
        }
        let gateway = Gateway(
            GatewayConfiguration(
                pool: database.pool, calls: database.calls, transport: transport, keys: ring, replica: replica.id,
                prices: try PriceBook.load(),
                fixedProviders: providers, policyFolder: configuration.policyFolder,
                metrics: metrics, tracer: tracer, namesUsers: configuration.telemetry.namesUsers,
                programs: ToolPrograms(sandboxes: try Self.sandboxes(configuration)), logger: logger))
        try await gateway.start()
        let grace = configuration.grace
        lifecycle.run(.gateway, stop: { await gateway.drain(grace: grace) }) { try await gateway.run() }
        if let folder = configuration.policyFolder { try await keepPolicies(of: gateway, as: folder) }
        return gateway
    }

    private func keepPolicies(of gateway: Gateway, as folder: String) async throws {
        let files = PolicyFiles(folder: folder, policies: gateway.policies, organization: .default, logger: logger)
        try await files.load()
        lifecycle.run(.settings) { await files.watch() }
    }

    /// The scripted model, in this process, on a port of its own.
    private func startDemoModel() async throws -> String {
        let (urls, ready) = AsyncStream<String>.makeStream()
        let demo = try DemoModelServer(listen: "127.0.0.1:0", logger: logger) { url in
            ready.yield(url)
            ready.finish()
        }
        let group = ServiceGroup(services: [demo], logger: logger)
        lifecycle.run(.demoModel, stop: { await group.triggerGracefulShutdown() }) {
            defer { ready.finish() }
            try await group.run()
        }
        for await url in urls {
            logger.notice(
                "A scripted model answers as provider 'demo': it replays scripts and is no AI.", metadata: ["url": "\(url)"])
            return url
        }
        throw AppError(.unavailable, "The scripted model could not be started.")
    }

    private func startWorkspaces(
        _ pool: PostgresPool, replica: Replica, host: String, _ notifications: PostgresListener?
    ) async throws -> WorkspaceService {
        let sandboxes = try privileged?.configuration ?? Self.sandboxes(configuration)
        // As root this was done, and one who gave root up may not.
        if privileged == nil {
            try FileManager.default.createDirectory(
                atPath: sandboxes.socketDirectory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        }
        sayWhatIsMissing(sandboxes)
        let provisioner = ProvisionerClient(
            .init(executable: Self.executable, configuration: sandboxes, launcher: privileged?.launcher), logger: logger)
        lifecycle.started(.provisioners, hurry: { provisioner.close() }) { provisioner.close() }
        let stack = WorkspaceStack(
            pool: pool, host: host, replica: replica.id, provisioner: provisioner,
            socketPath: "\(sandboxes.socketDirectory)/\(getpid()).sock", space: DiskSpace(path: sandboxes.base),
            notifications: notifications,
            logger: logger)
        try await stack.listener.start()
        lifecycle.started(.agentSessions) { await stack.listener.close() }
        lifecycle.run(.provisioners) { try await stack.worker.run() }
        lifecycle.run(.reconcilers) { try await stack.reconciler.run() }
        lifecycle.run(.reconcilers) { await stack.presence.run() }
        lifecycle.run(.reconcilers) { await stack.agentLogs.run() }
        return stack.service
    }

    /// The server is of use without workspaces, so this is no reason to end; but nobody should find it out with their first task.
    private func sayWhatIsMissing(_ sandboxes: SandboxConfiguration) {
        do {
            try LocalSandbox.checkPrograms(sandboxes)
            guard access("/usr/bin/git", X_OK) == 0 else {
                throw AppError(.unavailable, "/usr/bin/git is missing: tasks need it in their workspaces. Run: apt-get install git")
            }
        } catch {
            logger.warning("Tasks cannot be worked on: \((error as? AppError)?.message ?? "\(error)")")
        }
    }

    private func startLoop(
        _ pool: PostgresPool, replica: Replica, gateway: Gateway, workspaces: WorkspaceService, metrics: Metrics,
        tracer: Tracer?,
        _ notifications: PostgresListener?
    ) throws -> TaskService {
        let bus = TaskBus(pool: pool, listener: notifications, logger: logger)
        lifecycle.run(.reconcilers) { await bus.run() }
        let previews = PreviewHub()
        let files = TaskFiles(pool, largest: configuration.maxUpload.bytes)
        let ledger = LedgerLookup(pool: pool)
        var environment = LoopEnvironment(
            store: StepStore(pool), files: files, model: GatewayModelClient(gateway: gateway, ledger: ledger), ledger: ledger,
            workspaces: TaskWorkspaces(workspaces: workspaces), prompts: try PromptSet(), bus: bus, previews: previews,
            metrics: metrics, tracer: tracer, logger: logger)
        environment.toolPolicy = GatewayToolPolicy(gateway: gateway)
        let worker = TaskWorker(replica: replica.id, leases: LeaseStore(pool), environment: environment)
        let grace = configuration.grace
        lifecycle.run(.taskWorker, stop: { await worker.drain(grace: grace) }) { try await worker.run() }
        return TaskService(store: TaskStore(pool), files: files, bus: bus, previews: previews, ledger: ledger)
    }

    static func sandboxes(_ configuration: Configuration) throws -> SandboxConfiguration {
        let libexec = configuration.libexec ?? usualLibexec
        var sandboxes = SandboxConfiguration(base: configuration.dataDirectory + "/sandboxes", libexec: libexec)
        try sandboxes.show(tools: configuration.tools)
        return sandboxes
    }

    /// This program, also after its file was replaced.
    static let executable: String = {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    }()

    private static var usualLibexec: String {
        let folder = URL(fileURLWithPath: executable).deletingLastPathComponent()
        return folder.appendingPathComponent("../libexec").standardizedFileURL.path
    }
}

import AgentLoop
import Core
import Gateway
import Hummingbird
import Logging
import Postgres

/// Everything that routes and pages call, started and wired.
package struct Services: Sendable {
    package let configuration: Configuration
    package let readiness: Readiness
    package let goingAway: GoingAway
    package let metrics: Metrics
    package let users: UserService
    package let tokens: TokenService
    package let groups: GroupService
    package let files: FileStore
    package let authenticator: Authenticator
    package let gateway: Gateway
    package let tasks: TaskService
    package let interceptions: InterceptionDesk
    package let audit: AuditDesk
    package let keys: KeyDesk
    package let workspaces: WorkspaceDesk
    package let logger: Logger

    private var frame: RequestFrame {
        RequestFrame(meters: RequestMeters(metrics), trustedProxies: configuration.trustedProxies, logger: logger)
    }

    var calls: ModelCallAnswerer { ModelCallAnswerer(gateway: gateway, authenticator: authenticator, frame: frame) }

    func router() throws -> Router<SlipwayContext> {
        let router = Router(context: SlipwayContext.self)
        let responder = PageResponder(templates: try DashboardTemplates(files: Embedded.files))
        router.add(middleware: RequestMiddleware(frame: frame) { try responder.failed($0, $1, nil) })
        let table = RouteTable(router: router, authenticator: authenticator)
        try register(on: table)
        table.refuseOtherMethods()
        return router
    }

    /// All routes of the server; a noun's own file says which.
    func register(on table: RouteTable) throws {
        HealthRoutes(readiness: readiness, metrics: metrics).register(on: table)
        UserRoutes(users: users, tokens: tokens, authenticator: authenticator).register(on: table)
        GroupRoutes(groups: groups).register(on: table)
        TokenRoutes(tokens: tokens).register(on: table)
        FileRoutes(files: files).register(on: table)
        let taskRoutes = TaskRoutes(
            tasks: tasks, models: GatewayTaskModels(gateway: gateway, defaultModel: configuration.defaultModel),
            goingAway: goingAway)
        taskRoutes.register(on: table)
        WorkspaceRoutes(desk: workspaces).register(on: table)
        WorkspaceLogRoutes(desk: workspaces, goingAway: goingAway).register(on: table)
        ProviderRoutes(gateway: gateway, users: users).register(on: table)
        ModelRouteRoutes(gateway: gateway).register(on: table)
        PriceRoutes(gateway: gateway).register(on: table)
        PolicyRoutes(gateway: gateway).register(on: table)
        BudgetRoutes(gateway: gateway, users: users).register(on: table)
        RateLimitRoutes(gateway: gateway, users: users).register(on: table)
        InterceptionRoutes(desk: interceptions).register(on: table)
        SinkRoutes(gateway: gateway).register(on: table)
        SpendRoutes(desk: SpendDesk(gateway: gateway, users: users)).register(on: table)
        AuditRoutes(desk: audit).register(on: table)
        RetentionRoutes(desk: RetentionDesk(gateway: gateway, users: users)).register(on: table)
        KeyRoutes(desk: keys).register(on: table)
        GatewayDoor(gateway: gateway).register(on: table)
        ToolServerRoutes(tools: gateway.tools, users: users, accessURL: configuration.effectiveAccessURL).register(on: table)
        ToolDoor(endpoint: ToolEndpoint(gateway)).register(on: table)
        try registerPages(on: table, taskRoutes)
    }

    /// Pages: `table.page(…)` for who has logged in, `table.open(…)` for the log-in page and assets.
    private func registerPages(on table: RouteTable, _ taskRoutes: TaskRoutes) throws {
        let responder = PageResponder(templates: try DashboardTemplates(files: Embedded.files))
        AccountPages(responder: responder, users: users, authenticator: authenticator).register(on: table)
        TaskPageRoutes(responder: responder, routes: taskRoutes, accessURL: configuration.effectiveAccessURL).register(on: table)
        WorkspacePageRoutes(responder: responder, workspaces: workspaces).register(on: table)
        RecordPageRoutes(
            responder: responder, interceptions: interceptions, audit: audit, accessURL: configuration.effectiveAccessURL
        ).register(on: table)
    }
}

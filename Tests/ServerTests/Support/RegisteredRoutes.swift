import Core
import Foundation
import Hummingbird
import TestSupport

@testable import Server

enum RegisteredRoutes {
    /// The routes as the server registers them, from services that are started for it.
    static func all(_ database: TestDatabase, ring: String) async throws -> [RouteTable.Entry] {
        let pool = database.pool()
        let lifecycle = Lifecycle(plan: .slipway(drainDelay: .zero, grace: .seconds(1)), logger: .silent)
        let configuration = Configuration(dataDirectory: try ServerProcess.temporaryDirectory())
        let replica = try await Replica.register(pool, internalURL: "http://127.0.0.1", host: "test", logger: .silent)
        let services = try await Startup(configuration: configuration, lifecycle: lifecycle, logger: .silent).startServices(
            .init(pool: pool, calls: pool), ring: try KeyRing(text: ring), replica: replica, host: "test",
            readiness: Readiness())
        let table = RouteTable(router: Router(context: SlipwayContext.self), authenticator: services.authenticator)
        try services.register(on: table)
        await lifecycle.close()
        await pool.close()
        return table.entries
    }
}

import Core
import Foundation
import Hummingbird
import TestSupport

@testable import Server

enum RegisteredRoutes {
    /// The routes as the server registers them, from services that are started for it.
    static func all(_ database: TestDatabase, ring: String) async throws -> [RouteTable.Entry] {
        try await StartedServices.with(database, ring: ring) { services, _ in
            let table = RouteTable(router: Router(context: SlipwayContext.self), authenticator: services.authenticator)
            try services.register(on: table)
            return table.entries
        }
    }
}

import API
import Core
import Hummingbird

/// `/api/v2/keys`: the key ring that encrypts secrets at rest.
struct KeyRoutes: Sendable {
    let desk: KeyDesk

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.keys, .readKeys, list)
        table.on(.post, APIPaths.keys + "/rotate", .rotateKeys, rotate)
    }

    @Sendable func list(_ call: Call) async throws -> Response { try .json(try await desk.list()) }

    @Sendable func rotate(_ call: Call) async throws -> Response { try .json(try await desk.rotate(call.principal)) }
}

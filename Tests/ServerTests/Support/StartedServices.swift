import Core
import Foundation
import TestSupport

@testable import Server

/// Everything between the database and the listener, started in this process as the server starts it.
enum StartedServices {
    /// - Parameter demoModel: with the scripted model.
    static func with<Value: Sendable>(
        _ database: TestDatabase, ring: String = KeyRing.generatedText(id: "k"), demoModel: Bool = false,
        _ body: (Services, Lifecycle) async throws -> Value
    ) async throws -> Value {
        let pool = database.pool()
        let lifecycle = Lifecycle(plan: .slipway(drainDelay: .zero, grace: .seconds(1)), logger: .silent)
        let directory = try ServerProcess.temporaryDirectory()
        func end() async {
            await lifecycle.close()
            await pool.close()
            try? FileManager.default.removeItem(atPath: directory)
        }
        do {
            var configuration = Configuration(dataDirectory: directory)
            configuration.demoModel = demoModel
            let replica = try await Replica.register(pool, internalURL: "http://127.0.0.1", host: "test", logger: .silent)
            let services = try await Startup(configuration: configuration, lifecycle: lifecycle, logger: .silent).startServices(
                .init(pool: pool, calls: pool, heartbeat: pool), ring: try KeyRing(text: ring), replica: replica, host: "test",
                readiness: Readiness())
            let value = try await body(services, lifecycle)
            await end()
            return value
        } catch {
            await end()
            throw error
        }
    }

    /// A listener for these services on a port of its own, ended with them.
    ///
    /// - Returns: its URL.
    static func listen(_ services: Services, _ lifecycle: Lifecycle, dataPlane: Bool) async throws -> String {
        var configuration = services.configuration
        configuration.listen.port = 0
        let listener = try Listener(
            configuration: configuration, router: try services.router(), calls: dataPlane ? services.calls : nil, certificate: nil,
            logger: .silent)
        lifecycle.started(.connections) { await listener.close() }
        let port = try await listener.start()
        lifecycle.started(.listener) { listener.stopAccepting() }
        return "http://127.0.0.1:\(port)"
    }
}

import Core
import Foundation
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle

/// The scripted model: a small HTTP server that speaks Anthropic Messages and OpenAI Chat Completions from scenario files.
///
/// It is no AI and says so in its model names, headers and texts. What it answers follows from a request's messages alone.
package struct DemoModelServer: Service {
    package static let defaultListen = "127.0.0.1:7995"

    private let scenarios: ScenarioLibrary
    private let host: String
    private let port: Int
    private let speed: Double
    private let logger: Logger
    private let onReady: @Sendable (_ url: String) async -> Void

    /// - Parameters:
    ///   - listen: `host:port`; port 0 takes a free one, which `onReady` is told.
    ///   - speed: divides the pauses of the scenarios; 0 leaves them out.
    /// - Throws: `bad_request` naming the flag or the scenario file that is wrong.
    package init(
        scenarios: ScenarioLibrary? = nil, listen: String = Self.defaultListen, speed: Double = 1, logger: Logger,
        onReady: @escaping @Sendable (_ url: String) async -> Void = { _ in }
    ) throws {
        guard let colon = listen.lastIndex(of: ":"), let port = UInt16(listen[listen.index(after: colon)...]),
            colon > listen.startIndex
        else {
            throw AppError(
                .badRequest, "\"\(listen)\" is no address to listen at: expected HOST:PORT, such as \(Self.defaultListen)",
                field: "listen")
        }
        self.scenarios = try scenarios ?? .embedded()
        host = String(listen[..<colon]).trimmingCharacters(in: ["[", "]"])
        self.port = Int(port)
        self.speed = speed
        self.logger = logger
        self.onReady = onReady
    }

    /// Serves until the task is cancelled or the service group shuts down.
    package func run() async throws {
        let router = Router()
        DemoRoutes(scenarios: scenarios, speed: speed, logger: logger).add(to: router)
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .notice)
        let application = Application(
            router: router,
            configuration: .init(address: .hostname(host, port: port), serverName: "slipway-demo-model (scripted, no AI)"),
            onServerRunning: { [host, onReady] channel in
                let shown = host.contains(":") ? "[\(host)]" : host
                await onReady("http://\(shown):\(channel.localAddress?.port ?? 0)")
            },
            logger: quiet)
        try await application.run()
    }

    /// What `slipway-server demo-model` does: serves until SIGTERM or SIGINT.
    package static func runStandalone(listen: String, scenarioFolder: String? = nil, speed: Double = 1, logger: Logger) async throws
    {
        let scenarios = try scenarioFolder.map { try ScenarioLibrary.folder($0) }
        let server = try DemoModelServer(scenarios: scenarios, listen: listen, speed: speed, logger: logger) { url in
            print("Scripted demo model (no AI) at \(url)")
            fflush(nil)
        }
        try await ServiceGroup(services: [server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger).run()
    }

    /// Runs `body` against a server on a free port.
    package static func withServer<R: Sendable>(
        scenarios: ScenarioLibrary? = nil, speed: Double = 0, logger: Logger = Logger(label: "demo-model"),
        _ body: @Sendable (_ url: String) async throws -> R
    ) async throws -> R {
        let (urls, ready) = AsyncStream.makeStream(of: String.self)
        let server = try DemoModelServer(scenarios: scenarios, listen: "127.0.0.1:0", speed: speed, logger: logger) { url in
            ready.yield(url)
            ready.finish()
        }
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { ready.finish() }
                try await server.run()
            }
            guard let url = await urls.first(where: { _ in true }) else {
                try await group.waitForAll()
                throw AppError(.internal, "the demo model ended before it was ready")
            }
            let result = try await body(url)
            group.cancelAll()
            return result
        }
    }
}

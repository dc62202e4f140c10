import API
import Core
import Foundation
import Hummingbird
import TestSupport
import Testing

@testable import Server

@Suite struct RouteTests {
    private static let page = "docs/compatibility.md"

    /// `GET /users` for each route of the API, but for the gateway's door, whose paths are the providers'.
    private func registered() async throws -> Set<String> {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let lifecycle = Lifecycle(plan: .slipway(drainDelay: .zero, grace: .seconds(1)), logger: .silent)
            let directory = "/tmp/slipway-docs-tests/\(UUID().uuidString.prefix(8))"
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            let replica = try await Replica.register(pool, internalURL: "http://127.0.0.1", host: "test", logger: .silent)
            let startup = Startup(configuration: Configuration(dataDirectory: directory), lifecycle: lifecycle, logger: .silent)
            let services = try await startup.startServices(
                .init(pool: pool, calls: pool, heartbeat: pool), ring: try KeyRing(text: KeyRing.generatedText(id: "k")),
                replica: replica,
                host: "test", readiness: Readiness())
            let table = RouteTable(router: Router(context: SlipwayContext.self), authenticator: services.authenticator)
            try services.register(on: table)
            await lifecycle.close()
            await pool.close()
            try? FileManager.default.removeItem(atPath: directory)
            let routes = table.entries.filter { $0.path.hasPrefix(APIPaths.base) && !$0.path.hasSuffix("**") }
            return Set(routes.map { "\($0.method) \($0.path.dropFirst(APIPaths.base.count))" })
        }
    }

    /// `GET, PUT /users/{user}/ai/budget` is two of them.
    private static func documented() throws -> Set<String> {
        let spans = try Repository.markdown(page).codeSpans.compactMap {
            try? /([A-Z]+(?:, [A-Z]+)*) (\/\S*)/.wholeMatch(in: $0.text)
        }
        return Set(spans.flatMap { span in span.1.split(separator: ", ").map { "\($0) \(span.2)" } })
    }

    @Test func `the page on compatibility names exactly the routes that there are`() async throws {
        let registered = try await registered()
        let documented = try Self.documented()
        #expect(registered.subtracting(documented) == [], "not in \(Self.page)")
        #expect(documented.subtracting(registered) == [], "in \(Self.page) but no route")
    }

    @Test func `the page on compatibility names every code of an error`() throws {
        let spans = Set(try Repository.markdown(Self.page).codeSpans.map(\.text))
        for code in AppError.Code.allCases { #expect(spans.contains(code.rawValue)) }
    }
}

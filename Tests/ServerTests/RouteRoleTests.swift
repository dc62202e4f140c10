import API
import Core
import Foundation
import Hummingbird
import TestSupport
import Testing

@testable import Server

@Suite struct RouteRoleTests {
    /// The routes as the server registers them, from services that are started for it.
    private func routes(_ database: TestDatabase) async throws -> [RouteTable.Entry] {
        let pool = database.pool()
        let lifecycle = Lifecycle(plan: .slipway(drainDelay: .zero, grace: .seconds(1)), logger: .silent)
        let configuration = Configuration(dataDirectory: try ServerProcess.temporaryDirectory())
        let replica = try await Replica.register(pool, internalURL: "http://127.0.0.1", host: "test", logger: .silent)
        let services = try await Startup(configuration: configuration, lifecycle: lifecycle, logger: .silent).startServices(
            .init(pool: pool), ring: try KeyRing(text: KeyRing.generatedText(id: "k")), replica: replica, host: "test",
            readiness: Readiness())
        let table = RouteTable(router: Router(context: SlipwayContext.self), authenticator: services.authenticator)
        try services.register(on: table)
        await lifecycle.close()
        await pool.close()
        return table.entries
    }

    /// Every route with every role, and as a stranger: over a socket, against the table.
    @Test func `every route lets in whom the table lets in and nobody else`() async throws {
        try await TestDatabase.with { database in
            let entries = try await routes(database)
            #expect(entries.count > 15)
            let pool = database.pool()
            var tokens: [(role: Role?, token: String?)] = [(nil, nil)]
            for role in Role.allCases {
                tokens.append((role, try await People.token(pool, "\(role.rawValue)-walker", roles: [role])))
            }
            let server = try await ServerProcess.start(database: database.url)
            for entry in entries where entry.action != .logOut {
                // Ids and names of things that do not exist: who is let in gets as far as "not found" or "bad request".
                let path = entry.path.replacing(/\{[a-z_]+\}/, with: "00000000-0000-7000-8000-00000000dead").replacing(
                    "**", with: "none")
                for (role, token) in tokens {
                    let answer = try await Client(server, token: token).send(
                        entry.method, path, entry.method == "GET" ? nil : Data("{".utf8))
                    let isAllowed = entry.action.reach(roles: role.map { [$0] }, scope: .all) > .none
                    let who =
                        "\(entry.method) \(entry.path) as \(role?.rawValue ?? "nobody"): \(answer.status) \(answer.text.prefix(200))"
                    if isAllowed {
                        #expect(answer.status != 401 && !answer.text.contains("may not do this"), "\(who)")
                    } else if role == nil {
                        // Pages send strangers to the log-in page.
                        #expect(answer.status == 401 || answer.header("location")?.hasPrefix("/login") == true, "\(who)")
                    } else {
                        #expect(answer.status == 403 && answer.text.contains("may not do this"), "\(who)")
                    }
                }
            }
            await pool.close()
            await server.stop()
        }
    }

    @Test func `an error names the request, and the log has that request's line`() async throws {
        try await TestDatabase.with { database in
            let server = try await ServerProcess.start(database: database.url, arguments: ["--log-format", "json"])
            let answer = try await Client(server).get("/api/v2/nothing-here")
            #expect(answer.status == 404)
            let id = try #require(answer.header("x-request-id"))
            #expect(answer.error?.detail == "request id \(id)")
            try await server.waitForLine(containing: id)
            let line = try #require(server.logText.split(separator: "\n").first { $0.contains(id) })
            let fields = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String])
            #expect(fields["request_id"] == id && fields["status"] == "404" && fields["message"] == "GET /api/v2/nothing-here")
            let metrics = try await Client(server).get("/metrics").text
            #expect(metrics.contains("slipway_http_requests_total{"))
            await server.stop()
        }
    }

    @Test func `an upload comes back byte for byte to its owner and to nobody else`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let owner = try await People.token(pool, "ada", roles: [.member])
            let other = try await People.token(pool, "bob", roles: [.owner])
            let server = try await ServerProcess.start(database: database.url)
            let bytes = Data((0..<2_500_001).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })
            let file = try await Client(server, token: owner).send("POST", APIPaths.files, bytes).json(UploadedFile.self)
            #expect(file.size == 2_500_001)
            #expect(try await Client(server, token: owner).get(APIPaths.files + "/" + file.id).body == bytes)
            #expect(try await Client(server, token: other).get(APIPaths.files + "/" + file.id).status == 404)
            #expect(try await Client(server, token: owner).send("POST", APIPaths.files, Data()).status == 400)
            await pool.close()
            await server.stop()
        }
    }
}

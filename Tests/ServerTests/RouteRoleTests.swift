import API
import Core
import Foundation
import Hummingbird
import Postgres
import TestSupport
import Testing

@testable import Server

@Suite struct RouteRoleTests {
    private static let ring = KeyRing.generatedText(id: "k")

    /// Every route with every role, and as a stranger: over a socket, against the table.
    @Test func `every route lets in whom the table lets in and nobody else`() async throws {
        try await TestDatabase.with { database in
            let entries = try await RegisteredRoutes.all(database, ring: Self.ring)
            #expect(entries.count > 15)
            let pool = database.pool()
            let server = try await ServerProcess.start(database: database.url, environment: ["SLIPWAY_KEYS": Self.ring])
            let stranger = Client(server).with("sec-fetch-site", "same-origin")
            for entry in entries where entry.action != .logOut {
                // Ids and names of things that do not exist: who is let in gets as far as "not found" or "bad request".
                let path = entry.path.replacing(/\{[a-z_]+\}/, with: "00000000-0000-7000-8000-00000000dead").replacing(
                    "**", with: "none")
                let body = entry.method == "GET" ? nil : Data("{".utf8)
                func name(_ who: String, _ answer: Client.Answer) -> Comment {
                    "\(entry.method) \(entry.path) as \(who): \(answer.status) \(answer.text.prefix(200))"
                }
                let refused = try await stranger.send(entry.method, path, body)
                switch entry.entrance {
                case .open: #expect(refused.status != 403 && !refused.text.contains("needs a token"), name("nobody", refused))
                case .api, .door: #expect(refused.status == 401, name("nobody", refused))
                case .page: #expect(refused.header("location")?.hasPrefix("/login") == true, name("nobody", refused))
                }
                guard entry.entrance != .open else { continue }
                for role in Role.allCases {
                    let caller = try await caller(role, entry.entrance, server, pool)
                    let answer = try await caller.send(entry.method, path, body)
                    if entry.action.reach(roles: [role], scope: .all) > .none {
                        let isIn = answer.status != 401 && !answer.text.contains("may not do this")
                        #expect(isIn && answer.header("location")?.hasPrefix("/login") != true, name(role.rawValue, answer))
                    } else {
                        #expect(answer.status == 403 && answer.text.contains("may not do this"), name(role.rawValue, answer))
                    }
                }
            }
            await pool.close()
            await server.stop()
        }
    }

    /// Somebody of the role, with the credential that the entrance takes. A new one for each call: some calls end a session.
    private func caller(_ role: Role, _ entrance: RouteTable.Entrance, _ server: ServerProcess, _ pool: PostgresPool) async throws
        -> Client
    {
        let name = "\(role.rawValue)-\(UUID().uuidString.prefix(8).lowercased())"
        let token = try await People.token(pool, name, roles: [role])
        guard entrance == .page else { return Client(server, token: token) }
        let session = Credential.session()
        try await pool.execute(
            """
            INSERT INTO login_sessions (id_hash, organization_id, user_id, expires_at)
            SELECT \(session.hash), organization_id, id, now() + interval '1 hour' FROM users WHERE username = \(name)
            """)
        return Client(server).with("cookie", "slipway_session=\(session.text.reveal())").with("sec-fetch-site", "same-origin")
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

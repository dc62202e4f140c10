import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Server

/// The key ring: counted, extended, and everything sealed anew while servers run.
@Suite struct KeyRotationTests {
    private static let old = KeyRing.generatedText(id: "k1")
    private static let new = KeyRing.generatedText(id: "k2")

    private struct Scene {
        var url: String
        var pool: PostgresPool
        var owner: String

        func start(_ ring: String) async throws -> ServerProcess {
            try await ServerProcess.start(database: url, environment: ["SLIPWAY_KEYS": ring])
        }

        /// Provider keys as a server with this ring would have written them.
        func store(_ count: Int, _ ring: String) async throws {
            let ring = try KeyRing(text: ring)
            try await pool.execute(
                """
                INSERT INTO ai_providers (id, organization_id, name, display_name, type, base_url)
                SELECT gen_random_uuid(), \(OrganizationID.default), 'p' || n, 'p', 'anthropic', 'https://example.com'
                FROM generate_series(1, \(count)) AS n
                """)
            let providers = try await pool.query("SELECT id FROM ai_providers").map { try $0["id", as: ProviderID.self] }
            for provider in providers {
                let id = ProviderID()
                let place = KeyRing.Place(table: "ai_provider_keys", column: "sealed", row: id.description)
                let sealed = try ring.seal(Data("secret of \(provider)".utf8), at: place)
                try await pool.execute(
                    """
                    INSERT INTO ai_provider_keys (id, organization_id, provider_id, position, sealed, hint)
                    VALUES (\(id), \(OrganizationID.default), \(provider), 1, \(sealed), 'sk-…')
                    """)
            }
        }

        func expectAllOpen(with ring: String, count: Int) async throws {
            let ring = try KeyRing(text: ring)
            let rows = try await pool.query("SELECT id, provider_id, sealed FROM ai_provider_keys")
            #expect(rows.count == count)
            for row in rows {
                let place = try KeyRing.Place(
                    table: "ai_provider_keys", column: "sealed", row: row["id", as: ProviderID.self].description)
                let text = String(decoding: try ring.open(row["sealed"], at: place), as: UTF8.self)
                #expect(text == "secret of \(try row["provider_id", as: ProviderID.self])")
            }
        }
    }

    private func scene(_ body: (Scene) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let owner = try await People.token(pool, "ada", roles: [.owner])
            try await body(Scene(url: database.url, pool: pool, owner: owner))
            await pool.close()
        }
    }

    private func list(_ client: Client) async throws -> [EncryptionKey] {
        try await client.get(APIPaths.keys).json(EncryptionKeyList.self).keys
    }

    private func rotate(_ client: Client) async throws -> KeyRotation {
        let answer = try await client.send("POST", APIPaths.keys + "/rotate")
        try #require(answer.status == 200, "\(answer.text)")
        return try answer.json(KeyRotation.self)
    }

    @Test func `an interrupted rotation goes on where it stopped, and afterwards the old key is not needed`() async throws {
        try await scene { scene in
            let first = try await scene.start(Self.old)
            try await scene.store(1_200, Self.old)
            // The signing key and the sentinel are sealed as well.
            try await eventually {
                try await list(Client(first, token: scene.owner)) == [.init(id: "k1", isFirst: true, isInRing: true, values: 1_202)]
            }
            await first.stop()

            let second = try await scene.start(Self.new + Self.old)
            let client = Client(second, token: scene.owner)
            #expect(try await list(client).map(\.values) == [0, 1_202])
            let part = try await rotate(client)
            #expect(part.key == "k2" && part.rotated == 500 && part.remaining == 702)
            // Killed within the next part: whole batches are done, or not.
            let killed = Task { _ = try? await client.send("POST", APIPaths.keys + "/rotate") }
            try await eventually {
                let rows = try await scene.pool.query(
                    "SELECT count(*) AS n FROM ai_provider_keys WHERE position('\\x6b3200'::bytea IN sealed) = 1")
                return try rows[0]["n", as: Int.self] > 500
            }
            second.signal(SIGKILL)
            _ = await second.ended()
            await killed.value

            // A ring without the old key is refused in one sentence as long as it is needed.
            let without = try ServerProcess.launch(database: scene.url, environment: ["SLIPWAY_KEYS": Self.new])
            #expect(await without.ended() == 1)
            #expect(
                without.logText.contains("This key ring is not the one that the database was written with"), "\(without.logText)")

            let third = try await scene.start(Self.new + Self.old)
            let again = Client(third, token: scene.owner)
            var total = 0
            while true {
                let part = try await rotate(again)
                total += part.rotated
                if part.remaining == 0 { break }
                try #require(part.rotated > 0)
            }
            #expect(total > 0 && total < 702)
            #expect(
                try await list(again) == [
                    .init(id: "k2", isFirst: true, isInRing: true, values: 1_202),
                    .init(id: "k1", isFirst: false, isInRing: true, values: 0),
                ])
            #expect(try await rotate(again).rotated == 0)
            let facts = try await again.get("\(APIPaths.audit)/facts?kind=keys").json(AuditFactList.self).facts
            #expect(facts.first?.kind == "keys.rotate" && facts.first?.subject == "k2" && facts.first?.actor == "ada")
            await third.stop()
            try await scene.expectAllOpen(with: Self.new, count: 1_200)

            let last = try await scene.start(Self.new)
            // The audit signing key opens as well: a checkpoint is signed at the end.
            let verified = try await Client(last, token: scene.owner).post(APIPaths.audit + "/verify", VerifyAuditRequest())
            #expect(try verified.json(AuditVerification.self).ok, "\(verified.text)")
            await last.stop()
            #expect(!last.logText.contains("error"), "\(last.logText)")
        }
    }

    @Test func `nothing is sealed with a key that another living server does not have`() async throws {
        try await scene { scene in
            let behind = try await scene.start(Self.old)
            try await scene.store(3, Self.old)
            let ahead = try await scene.start(Self.new + Self.old)
            let answer = try await Client(ahead, token: scene.owner).send("POST", APIPaths.keys + "/rotate")
            #expect(answer.status == 409)
            #expect(answer.error?.message.contains("does not have the key 'k2': restart it") == true, "\(answer.text)")
            await behind.stop()
            #expect(try await rotate(Client(ahead, token: scene.owner)).remaining == 0)
            await ahead.stop()
        }
    }

    @Test func `a ring that lacks the key of any stored secret is refused, and the key is named`() async throws {
        try await scene { scene in
            let server = try await scene.start(Self.old)
            try await scene.store(2, Self.new)
            await server.stop()
            let refused = try ServerProcess.launch(database: scene.url, environment: ["SLIPWAY_KEYS": Self.old])
            #expect(await refused.ended() == 1)
            #expect(refused.logText.contains("no key 'k2', which 2 stored secrets need"), "\(refused.logText)")
        }
    }

    @Test func `a member may not see or rotate keys`() async throws {
        try await scene { scene in
            let member = try await People.token(scene.pool, "eve", roles: [.member])
            let server = try await scene.start(Self.old)
            #expect(try await Client(server, token: member).get(APIPaths.keys).status == 403)
            #expect(try await Client(server, token: member).send("POST", APIPaths.keys + "/rotate").status == 403)
            await server.stop()
        }
    }

    // MARK: The file

    private func run(_ arguments: [String], _ environment: [String: String] = [:]) throws -> (status: Int32, text: String) {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = ServerProcess.binary
        process.arguments = arguments
        process.environment = ["PATH": "/usr/bin:/bin"].merging(environment) { $1 }
        (process.standardOutput, process.standardError) = (pipe, pipe)
        try process.run()
        let text = String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, text)
    }

    @Test func `a key is added first, at once, and the file keeps its owner and stays private`() throws {
        let directory = try ServerProcess.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let file = directory + "/keys"
        #expect(try run(["keys", "add", "--data-dir", directory]).status == 0)
        let first = try String(contentsOfFile: file, encoding: .utf8)
        #expect(first.hasPrefix("k1 "))
        #expect(try KeyRing(text: first).ids == ["k1"])
        chmod(file, 0o644)
        if geteuid() == 0 { chown(file, getpwnam("nobody").pointee.pw_uid, 0) }
        let reader = open(file, O_RDONLY)
        defer { close(reader) }
        let second = try run(["keys", "add", "--data-dir", directory])
        #expect(second.status == 0 && second.text.contains("'k2' is the first of \(file)"), "\(second.text)")
        let third = try run(["keys", "add", "--last", "--id", "spare", "--data-dir", directory])
        #expect(third.status == 0, "\(third.text)")
        let text = try String(contentsOfFile: file, encoding: .utf8)
        #expect(try KeyRing(text: text).ids == ["k2", "k1", "spare"])
        #expect(text.contains(first))
        var status = stat()
        #expect(stat(file, &status) == 0 && status.st_mode & 0o777 == 0o600)
        if geteuid() == 0 { #expect(status.st_uid == getpwnam("nobody").pointee.pw_uid) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["keys"])
        // Who had it open before still reads the whole old text: the file was replaced, not written over.
        #expect(String(decoding: try FileHandle(fileDescriptor: reader).readToEnd() ?? Data(), as: UTF8.self) == first)
    }

    @Test func `what cannot be added is refused with the reason`() throws {
        let directory = try ServerProcess.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let text = "k1 \(String(repeating: "ab", count: 32))\n"
        try text.write(toFile: directory + "/keys", atomically: true, encoding: .utf8)
        for (arguments, environment, reason) in [
            (["--id", "k1"], [:], "has a key 'k1' already"), (["--id", "k 1"], [:], "--id must be"),
            ([], ["SLIPWAY_KEYS": text], "comes from SLIPWAY_KEYS"), (["--lost"], [:], "--lost is not an option"),
        ] as [([String], [String: String], String)] {
            let result = try run(["keys", "add", "--data-dir", directory] + arguments, environment)
            #expect(result.status == 78 && result.text.contains(reason), "\(result.text)")
        }
        #expect(try String(contentsOfFile: directory + "/keys", encoding: .utf8) == text)
    }
}

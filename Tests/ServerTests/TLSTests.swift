import API
import Foundation
import TestSupport
import Testing

@testable import Server

/// A server with a certificate, as browsers and the client program meet it.
@Suite(.serialized) struct TLSTests {
    /// Certificates of their own authority for 127.0.0.1, told apart by their names.
    private struct Files {
        let folder: String
        var certificate: String { folder + "/cert.pem" }
        var key: String { folder + "/key.pem" }
        /// All of them.
        var authorities: String { folder + "/authorities.pem" }

        init(_ names: [String]) throws {
            folder = try ServerProcess.temporaryDirectory() + "-tls"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            for name in names {
                try Shell.check(
                    """
                    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=\(name) \
                    -addext subjectAltName=IP:127.0.0.1 -keyout \(name).key -out \(name).crt &&
                    cat \(name).crt >> authorities.pem && chmod a+r \(name).key
                    """, in: folder)
            }
            try use(names[0])
        }

        /// As a renewal does it: a file beside it, then a rename.
        func use(_ name: String) throws {
            try Shell.check(
                "cp \(name).crt new.crt && cp \(name).key new.key && mv new.crt cert.pem && mv new.key key.pem", in: folder)
        }

        func remove() { try? FileManager.default.removeItem(atPath: folder) }
    }

    /// The name in the certificate that a new connection is shown, and the protocol that was agreed on.
    private func handshake(_ server: ServerProcess, _ more: String = "") throws -> String {
        let address = server.url.dropFirst("https://".count)
        return try Shell.run("openssl s_client -connect \(address) -alpn h2,http/1.1 \(more) </dev/null").output
    }

    private func shownName(_ server: ServerProcess) throws -> String? {
        try handshake(server).firstMatch(of: /subject=CN ?= ?([a-z]+)/).map { String($0.1) }
    }

    @Test func `HTTPS with TLS 1.2 and later, and the client program with its authority`() async throws {
        let files = try Files(["first"])
        defer { files.remove() }
        try await TestDatabase.with { database in
            let server = try await ServerProcess.start(
                database: database.url, arguments: ["--tls-cert", files.certificate, "--tls-key", files.key])
            #expect(server.url.hasPrefix("https://127.0.0.1:"))
            var client = Client(server)
            client.caFile = files.authorities
            #expect(try await client.get("/readyz").text == "ready\n")
            await #expect(throws: (any Error).self) { try await Client(server).get("/readyz") }
            let agreed = try handshake(server)
            #expect(agreed.contains("ALPN protocol: http/1.1"), "\(agreed)")
            #expect(try handshake(server, "-tls1_2").contains("Protocol  : TLSv1.2"))
            #expect(!(try handshake(server, "-tls1_1 -cipher ALL:@SECLEVEL=0").contains("subject=")))

            try await server.waitForLine(containing: "set-up code")
            let code = try #require(server.setupCode)
            let program = ServerProcess.binary.deletingLastPathComponent().appending(path: "slipway").path
            let environment = ["SLIPWAY_CONFIG_DIR": files.folder + "/config"]
            func slipway(_ words: String, input: String = "") throws -> Shell.Outcome {
                try Shell.run("\(program) \(words)", in: files.folder, environment: environment, input: input)
            }
            let login =
                "login \(server.url) --first-user --setup-code \(code) --username dev --email dev@example.com --password-stdin"
            let stranger = try slipway(login, input: "a long enough password 1\n")
            #expect(stranger.status == 69 && stranger.output.contains("--ca-file"), "\(stranger)")
            let known = try slipway(login + " --ca-file authorities.pem", input: "a long enough password 1\n")
            #expect(known.status == 0, "\(known)")
            // The authority is kept with the login, from whatever folder it is used.
            #expect(try slipway("tokens list").status == 0)
            #expect(try Shell.run("\(program) tokens list", in: "/", environment: environment).status == 0)
            let missing = try slipway("tokens list --ca-file nowhere.pem")
            #expect(missing.status == 1 && missing.output.contains("nowhere.pem is not there"), "\(missing)")
            await server.stop()
        }
    }

    @Test func `a renewed certificate is taken on SIGHUP and by itself, and a bad one leaves the one before`() async throws {
        let files = try Files(["first", "second", "third"])
        defer { files.remove() }
        try await TestDatabase.with { database in
            let server = try await ServerProcess.start(
                database: database.url, arguments: ["--tls-cert", files.certificate, "--tls-key", files.key])
            #expect(try shownName(server) == "first")
            // At once: the watch alone would take two looks.
            try files.use("second")
            server.signal(SIGHUP)
            try await eventually { try shownName(server) == "second" }
            #expect(server.logText.contains("was read again"))

            try Shell.check("echo rubbish > cert.pem", in: files.folder)
            try await server.waitForLine(containing: "cert.pem of --tls-cert is not a PEM certificate chain")
            try Shell.check("cp first.crt cert.pem && cp third.key key.pem", in: files.folder)
            try await server.waitForLine(containing: "key.pem does not belong to the certificate")
            try Shell.check("rm key.pem", in: files.folder)
            try await server.waitForLine(containing: "key.pem of --tls-key is not there")
            #expect(try shownName(server) == "second")
            var client = Client(server)
            client.caFile = files.authorities
            #expect(try await client.get("/readyz").status == 200)

            try files.use("third")
            try await eventually { try shownName(server) == "third" }
            #expect(!server.logText.contains("shutting down"))
            server.signal(SIGTERM)
            #expect(await server.ended() == 0)
            #expect(server.logText.contains("Closed in "))
            await server.stop()
        }
    }

    @Test func `a certificate that cannot be used ends the start with one sentence that names the file`() async throws {
        let files = try Files(["first", "second"])
        defer { files.remove() }
        for (damage, said) in [
            ("cp second.key key.pem", "does not belong to the certificate"), ("rm cert.pem", "of --tls-cert is not there"),
            ("echo x > cert.pem", "is not a PEM certificate chain"), (": > key.pem", "is not a PEM private key"),
        ] {
            try files.use("first")
            try Shell.check(damage, in: files.folder)
            let server = try ServerProcess.launch(
                database: nil, arguments: ["--tls-cert", files.certificate, "--tls-key", files.key])
            #expect(await server.ended() == 1)
            #expect(server.logText.contains(said), "\(damage): \(server.logText)")
            await server.stop()
        }
    }
}

import Foundation
import Hummingbird
import HummingbirdHTTP2
import Logging
import NIOCore

/// A TLS server that speaks HTTP/2 to who asks for it, with a certificate of an authority of its own.
struct SecureServer: Sendable {
    let url: String
    let caFile: String

    struct Context: RequestContext {
        var coreContext: CoreRequestContextStorage
        let channel: any Channel
        init(source: ApplicationRequestContextSource) {
            coreContext = .init(source: source)
            channel = source.channel
        }
        /// The client's port names the connection. A stream of HTTP/2 has a channel within that of its connection; the parent of
        /// a connection's own channel is the listener, which has no client.
        var connection: String {
            if let port = channel.parent?.remoteAddress?.port { return "h2:\(port)" }
            return "h1:\(channel.remoteAddress?.port ?? 0)"
        }
    }

    static func with<R: Sendable>(_ body: @escaping @Sendable (SecureServer) async throws -> R) async throws -> R {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slipway-tls-\(UUID())").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try makeCertificate(in: folder)
        let chain = try NIOSSLCertificate.fromPEMFile(folder + "/cert.pem")
        let tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: folder + "/key.pem", format: .pem)))
        let (ports, ready) = AsyncStream.makeStream(of: Int.self)
        var quiet = Logger(label: "tls")
        quiet.logLevel = .critical
        let application = Application(
            router: routes(), server: try .http2Upgrade(tlsConfiguration: tls),
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in
                ready.yield(channel.localAddress?.port ?? 0)
                ready.finish()
            }, logger: quiet)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await application.run() }
            let port = await ports.first { _ in true } ?? 0
            let result = try await body(SecureServer(url: "https://127.0.0.1:\(port)", caFile: folder + "/cert.pem"))
            group.cancelAll()
            return result
        }
    }

    private static func routes() -> Router<Context> {
        let router = Router(context: Context.self)
        router.get("/connection") { _, context in context.connection }
        router.post("/echo") { request, _ in ByteBuffer(buffer: try await request.body.collect(upTo: 64 << 20)) }
        router.get("/burst") { _, _ in
            Response(
                status: .ok,
                body: ResponseBody { writer in
                    for offset in stride(from: 0, to: StreamTests.burstBytes, by: 32 << 10) {
                        try await writer.write(StreamTests.expected(at: offset, count: 32 << 10))
                    }
                    try await writer.finish(nil)
                })
        }
        return router
    }

    private static func makeCertificate(in folder: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
            "/CN=test",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder + "/key.pem", "-out", folder + "/cert.pem",
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
    }
}

import Core
import Foundation
import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOConcurrencyHelpers
import NIOCore

/// The certificate that new connections are shown. It is read again on request and when its files change; what cannot be used is
/// said in the log, and the one before stays.
package final class ServerCertificate: Sendable {
    private static let interval = Duration.seconds(1)

    private let certificate: String
    private let key: String
    private let logger: Logger
    private let state: NIOLockedValueBox<State>

    struct Current: Sendable {
        /// Grows with each replacement.
        var number = 1
        var configuration: TLSConfiguration
    }

    private struct State {
        var current: Current
        /// What the files were like when they were last read, usable or not.
        var read: [FileStamp?]
    }

    /// - Throws: `badRequest` that names the file and what is wrong with it.
    package init(certificate: String, key: String, logger: Logger) throws {
        self.certificate = certificate
        self.key = key
        self.logger = logger
        let read = [FileStamp(certificate), FileStamp(key)]
        let loaded = try Self.load(certificate: certificate, key: key)
        state = .init(State(current: Current(configuration: loaded.configuration), read: read))
        warn(of: loaded.problem)
    }

    var current: Current { state.withLockedValue { $0.current } }

    /// Reads the files now.
    package func reload() {
        let read = stamps
        state.withLockedValue { $0.read = read }
        do {
            let loaded = try Self.load(certificate: certificate, key: key)
            state.withLockedValue {
                $0.current.number += 1
                $0.current.configuration = loaded.configuration
            }
            logger.notice("The TLS certificate was read again; new connections get it.", metadata: ["file": "\(certificate)"])
            warn(of: loaded.problem)
        } catch {
            let reason = (error as? AppError)?.message ?? "\(error)"
            logger.error("The TLS certificate was not replaced, the one before stays: \(reason)")
        }
    }

    /// Reads them when they have changed and lie still, until it is cancelled. Asking the file system is enough, and it works on
    /// every one.
    package func watch() async {
        var seen = stamps
        while (try? await Task.sleep(for: Self.interval)) != nil {
            let now = stamps
            // Two files are seldom replaced at one moment: what changed a moment ago may still be changing.
            if now == seen, now != state.withLockedValue({ $0.read }) { reload() }
            seen = now
        }
    }

    private var stamps: [FileStamp?] { [FileStamp(certificate), FileStamp(key)] }

    private func warn(of problem: String?) { if let problem { logger.warning("\(problem)") } }

    private static func load(certificate: String, key: String) throws -> (configuration: TLSConfiguration, problem: String?) {
        let chain = try read(certificate, "tls-cert", "a PEM certificate chain") { try NIOSSLCertificate.fromPEMFile($0) }
        let privateKey = try read(key, "tls-key", "a PEM private key without a password") {
            try NIOSSLPrivateKey(file: $0, format: .pem)
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(privateKey))
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        do {
            // Only the making of a channel shows whether the two belong together.
            _ = try TLSChannel(NoChannel(), tlsConfiguration: configuration)
            return (configuration, chain.first.flatMap { expiry(of: $0, certificate) })
        } catch {
            throw AppError(
                .badRequest, "The key \(key) does not belong to the certificate \(certificate), or cannot be used with it.",
                field: "tls-key", cause: error)
        }
    }

    private static func read<Value>(_ path: String, _ field: String, _ expected: String, _ body: (String) throws -> Value) throws
        -> Value
    {
        guard let text = FileManager.default.contents(atPath: path) else {
            throw AppError(.badRequest, "The file \(path) of --\(field) is not there or cannot be read.", field: field)
        }
        do {
            guard !text.isEmpty else { throw CocoaError(.fileReadCorruptFile) }
            return try body(path)
        } catch {
            throw AppError(.badRequest, "The file \(path) of --\(field) is not \(expected).", field: field, cause: error)
        }
    }

    private static func expiry(of leaf: NIOSSLCertificate, _ path: String) -> String? {
        let end = Date(timeIntervalSince1970: TimeInterval(leaf.notValidAfter))
        guard end.timeIntervalSinceNow < 0 else { return nil }
        return "The TLS certificate \(path) expired on \(end.formatted(.iso8601)); clients will not trust it. Renew it."
    }
}

/// Stands under a TLS channel that is made to be looked at.
private struct NoChannel: ServerChildChannel {
    struct Value: ServerChildChannelValue { var channel: any Channel }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeSucceededFuture(Value(channel: channel))
    }

    func handle(value: Value, logger: Logger) async {}
}

/// Changes when a file is written or replaced.
private struct FileStamp: Equatable {
    private var inode: UInt
    private var size: Int
    private var seconds: Int
    private var nanoseconds: Int

    /// Nil: there is no such file.
    init?(_ path: String) {
        var info = stat()
        guard stat(path, &info) == 0 else { return nil }
        (inode, size) = (UInt(info.st_ino), Int(info.st_size))
        (seconds, nanoseconds) = (Int(info.st_mtim.tv_sec), Int(info.st_mtim.tv_nsec))
    }
}

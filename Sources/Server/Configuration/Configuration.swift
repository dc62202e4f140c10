import Core
import Foundation
import Logging

/// Everything an operator can choose. Read by `ConfigurationLoader` from flags, `SLIPWAY_*` variables and one YAML file.
package struct Configuration: Sendable, Equatable {
    package enum LogFormat: String, Sendable, CaseIterable { case text, json }

    package var listen = ListenAddress(host: "127.0.0.1", port: 7080)
    /// The URL people use; nil means the listen address.
    package var accessURL: String?
    package var dataDirectory: String
    /// Nil: the embedded PostgreSQL in the data directory.
    package var postgresURL: Secret<String>?
    package var postgresConnections = 16
    package var tlsCertificate: String?
    package var tlsKey: String?
    package var keysFile: String?
    /// The text of a key ring, from `SLIPWAY_KEYS`.
    package var keys: Secret<String>?
    package var trustedProxies: [AddressRange] = []
    package var logFormat = LogFormat.text
    package var logLevel = Logger.Level.info
    package var drainDelay = Duration.zero
    package var grace = Duration.seconds(20)
    /// Where the sandbox's tools lie; nil: `../libexec` beside this binary.
    package var libexec: String?
    /// Directories outside `/usr` that workspaces see, such as toolchains.
    package var tools: [String] = []
    /// Whose YAML files are the policies; nil: they are put over the API alone.
    package var policyFolder: String?
    /// The largest file that is taken, e.g. a repository's bundle.
    package var maxUpload = ByteCount(1 << 30)
    package var demoModel = false
    /// The model of tasks that name none.
    package var defaultModel: String?
    package var telemetry = TelemetryConfiguration()
    /// Whether LISTEN/NOTIFY shortens polling; every consumer works without it.
    package var notifications = true

    package init(dataDirectory: String) { self.dataDirectory = dataDirectory }

    /// What is printed and what cookies and `Origin` are checked against, without a slash at the end.
    package var effectiveAccessURL: String {
        if let accessURL { return accessURL }
        let host = listen.host == "0.0.0.0" ? "127.0.0.1" : listen.host == "::" ? "[::1]" : listen.urlHost
        return "\(tlsCertificate == nil ? "http" : "https")://\(host):\(listen.port)"
    }

    /// A plain listener that other machines can reach.
    package var isExposedWithoutTLS: Bool { tlsCertificate == nil && !listen.isLoopback }
}

/// Where the server listens. Port 0 asks the kernel for a free one.
package struct ListenAddress: Sendable, Equatable, CustomStringConvertible {
    package var host: String
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port`, `[::1]:port` or `:port` (all addresses). Nil for anything else.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]), (0...65535).contains(port)
        else {
            return nil
        }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            return nil
        }
        self.init(host: host.isEmpty ? "0.0.0.0" : host, port: port)
    }

    package var urlHost: String { host.contains(":") ? "[\(host)]" : host }
    package var description: String { "\(urlHost):\(port)" }
    package var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
}

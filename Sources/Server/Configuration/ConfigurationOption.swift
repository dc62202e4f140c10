import Core
import Foundation
import Logging

/// One thing that can be configured: `--name value`, `SLIPWAY_NAME`, or `name:` in the YAML file.
struct ConfigurationOption: Sendable {
    var name: String
    /// What stands for the value in the help text; nil for a switch.
    var placeholder: String?
    var help: String
    /// Whether the value must not be on a command line, where every process of the machine can read it.
    var environmentOnly = false
    /// Nil: the value was taken. Else what was expected.
    var take: @Sendable (_ value: String, inout Configuration) -> String?

    var variable: String { "SLIPWAY_" + name.uppercased().replacing("-", with: "_") }

    static let all: [ConfigurationOption] = server + telemetry

    private static let server: [ConfigurationOption] = [
        .init(name: "listen", placeholder: "HOST:PORT", help: "Where to listen (default 127.0.0.1:7080).") { value, into in
            guard let address = ListenAddress(value) else { return "HOST:PORT, for example 127.0.0.1:7080" }
            into.listen = address
            return nil
        },
        .init(name: "access-url", placeholder: "URL", help: "The URL people use; default: the listen address.") { value, into in
            guard let url = URL(string: value), ["http", "https"].contains(url.scheme), url.host?.isEmpty == false,
                ["", "/"].contains(url.path), url.query == nil
            else { return "an http or https URL without a path, for example https://slipway.example.com" }
            into.accessURL = value.hasSuffix("/") ? String(value.dropLast()) : value
            return nil
        },
        .init(name: "data-dir", placeholder: "DIR", help: "Where the server keeps its files.") { value, into in
            guard !value.isEmpty else { return "a directory" }
            into.dataDirectory = URL(fileURLWithPath: value).standardizedFileURL.path
            return nil
        },
        .init(name: "postgres-url", placeholder: "URL", help: "PostgreSQL to use instead of the embedded one.") { value, into in
            guard value.hasPrefix("postgres://") || value.hasPrefix("postgresql://") || value.contains("=") else {
                return "postgres://user:password@host:5432/database, or libpq's key=value words"
            }
            into.postgresURL = Secret(value)
            return nil
        },
        .init(name: "postgres-connections", placeholder: "N", help: "Connections of the pool (default 16).") { value, into in
            guard let number = Int(value), (2...500).contains(number) else { return "a number from 2 to 500" }
            into.postgresConnections = number
            return nil
        },
        .init(name: "tls-cert", placeholder: "FILE", help: "PEM certificate chain; with --tls-key turns TLS on.") { value, into in
            into.tlsCertificate = value
            return value.isEmpty ? "a file" : nil
        },
        .init(name: "tls-key", placeholder: "FILE", help: "PEM private key of --tls-cert.") { value, into in
            into.tlsKey = value
            return value.isEmpty ? "a file" : nil
        },
        .init(name: "keys-file", placeholder: "FILE", help: "Key ring: one '<key id> <64 hex digits>' a line, the first encrypts.")
        {
            value, into in
            into.keysFile = value
            return value.isEmpty ? "a file" : nil
        },
        .init(name: "keys", placeholder: "TEXT", help: "The text of a key ring.", environmentOnly: true) { value, into in
            into.keys = Secret(value)
            return nil
        },
        .init(name: "trusted-proxies", placeholder: "CIDR,…", help: "Proxies whose X-Forwarded-For is believed.") { value, into in
            var ranges: [AddressRange] = []
            for word in value.split(separator: ",") {
                guard let range = AddressRange(word.trimmingCharacters(in: .whitespaces)) else {
                    return "addresses or CIDR ranges with commas between them, for example 10.0.0.0/8"
                }
                ranges.append(range)
            }
            into.trustedProxies = ranges
            return nil
        },
        .init(name: "log-format", placeholder: "text|json", help: "How log lines look (default text).") { value, into in
            guard let format = Configuration.LogFormat(rawValue: value) else { return "text or json" }
            into.logFormat = format
            return nil
        },
        .init(name: "log-level", placeholder: "LEVEL", help: "trace, debug, info, notice, warning, error or critical.") {
            value, into in
            guard let level = Logger.Level(rawValue: value) else {
                return Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            }
            into.logLevel = level
            return nil
        },
        .init(name: "drain-delay", placeholder: "TIME", help: "How long to serve on after /readyz says 503 (default 0s).") {
            value, into in
            guard let time = Duration(configured: value) else { return "a time such as 500ms, 5s or 2m" }
            into.drainDelay = time
            return nil
        },
        .init(name: "grace", placeholder: "TIME", help: "How long running answers may take to end at shutdown (default 20s).") {
            value, into in
            guard let time = Duration(configured: value), time <= .seconds(20) else { return "a time of at most 20s" }
            into.grace = time
            return nil
        },
        .init(name: "libexec", placeholder: "DIR", help: "Tools of the sandbox; default: ../libexec beside this program.") {
            value, into in
            into.libexec = value
            return value.isEmpty ? "a directory" : nil
        },
        .init(name: "tools", placeholder: "DIR:DIR", help: "Toolchains outside /usr that workspaces see, such as /opt/swift.") {
            value, into in
            into.tools = value.split(separator: ":").map(String.init)
            return into.tools.allSatisfy { $0.hasPrefix("/") } ? nil : "absolute directories with colons between them"
        },
        .init(name: "default-model", placeholder: "MODEL", help: "The model of tasks that name none.") { value, into in
            into.defaultModel = value
            return value.isEmpty ? "a model, for example claude-sonnet-4-5" : nil
        },
        .init(name: "policy-dir", placeholder: "DIR", help: "A folder whose *.yaml files are policies; read again on changes.") {
            value, into in
            into.policyFolder = value
            return value.isEmpty ? "a folder" : nil
        },
        .init(
            name: "notifications", placeholder: "on|off", help: "LISTEN/NOTIFY between replicas; off: polling alone (default on)."
        ) {
            value, into in
            guard let on = Bool(configured: value) else { return "on or off" }
            into.notifications = on
            return nil
        },
        .init(name: "max-upload", placeholder: "SIZE", help: "The largest repository bundle that is taken (default 1GiB).") {
            value, into in
            guard let size = ByteCount(configured: value), size.bytes >= 1 << 20 else { return "a size such as 512MiB or 2GiB" }
            into.maxUpload = size
            return nil
        },
        .init(name: "demo-model", help: "Registers a scripted model (no AI) to try things with.") { value, into in
            guard let on = Bool(configured: value) else { return "on or off" }
            into.demoModel = on
            return nil
        },
    ]
}

extension Duration {
    /// Reads `250ms`, `5s`, `2m` or `1h`. Nil for anything else.
    package init?(configured text: String) {
        let digits = text.prefix(while: \.isNumber)
        guard let number = Int(digits), number <= 1_000_000 else { return nil }
        switch text.dropFirst(digits.count) {
        case "ms": self = .milliseconds(number)
        case "s": self = .seconds(number)
        case "m": self = .seconds(number * 60)
        case "h": self = .seconds(number * 3600)
        case "" where number == 0: self = .zero
        default: return nil
        }
    }
}

extension Bool {
    /// Reads `on`, `off` and their like. Nil for anything else.
    init?(configured text: String) {
        switch text.lowercased() {
        case "on", "true", "yes", "1": self = true
        case "off", "false", "no", "0": self = false
        default: return nil
        }
    }
}

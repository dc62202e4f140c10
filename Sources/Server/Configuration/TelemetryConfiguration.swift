import Core
import Foundation

/// Where traces go and what is in them.
package struct TelemetryConfiguration: Sendable, Equatable {
    /// The collector's address for traces, complete; nil: nothing is traced.
    package var endpoint: String?
    /// `name=value` with commas between them.
    package var headers: Secret<String>?
    package var headersFile: String?
    package var caFile: String?
    /// Added to `service.name` and its like, or in their place.
    package var resource: [String: String] = [:]
    /// Of traces that begin here, 0 to 1.
    package var sampling = 1.0
    package var namesUsers = false

    package init() {}

    /// Reads `a=1,b=2`; nil for anything else. Values may be percent-encoded, as in `OTEL_RESOURCE_ATTRIBUTES`.
    package static func pairs(_ text: String) -> [(name: String, value: String)]? {
        var pairs: [(name: String, value: String)] = []
        for part in text.split(whereSeparator: { $0 == "," || $0 == "\n" }) {
            let part = part.trimmingCharacters(in: .whitespaces)
            if part.isEmpty { continue }
            guard let sign = part.firstIndex(of: "=") else { return nil }
            let name = part[..<sign].trimmingCharacters(in: .whitespaces)
            let value = part[part.index(after: sign)...].trimmingCharacters(in: .whitespaces)
            guard (1...256).contains(name.utf8.count), value.utf8.count <= 4096, let plain = value.removingPercentEncoding,
                plain.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f })
            else { return nil }
            pairs.append((name, plain))
        }
        return pairs
    }
}

extension ConfigurationOption {
    static let telemetry: [ConfigurationOption] = [
        .init(
            name: "otlp-endpoint", placeholder: "URL", help: "A collector that takes traces by OTLP over HTTP; /v1/traces is added."
        ) {
            value, into in
            guard let url = URL(string: value), ["http", "https"].contains(url.scheme), url.host?.isEmpty == false,
                url.query == nil,
                url.user == nil
            else { return "an http or https URL, for example http://127.0.0.1:4318" }
            let base = value.hasSuffix("/") ? String(value.dropLast()) : value
            into.telemetry.endpoint = base.hasSuffix("/v1/traces") ? base : base + "/v1/traces"
            return nil
        },
        .init(
            name: "otlp-headers", placeholder: "NAME=VALUE,…", help: "Headers for the collector, such as a key.",
            environmentOnly: true
        ) { value, into in
            guard TelemetryConfiguration.pairs(value) != nil else { return "headers such as authorization=Bearer%20KEY" }
            into.telemetry.headers = Secret(value)
            return nil
        },
        .init(name: "otlp-headers-file", placeholder: "FILE", help: "A file with such headers, one a line.") { value, into in
            into.telemetry.headersFile = value
            return value.isEmpty ? "a file" : nil
        },
        .init(name: "otlp-ca-file", placeholder: "FILE", help: "PEM authorities of the collector's certificate.") { value, into in
            into.telemetry.caFile = value
            return value.isEmpty ? "a file" : nil
        },
        .init(name: "otlp-resource", placeholder: "NAME=VALUE,…", help: "Attributes of everything that is exported.") {
            value, into in
            guard let pairs = TelemetryConfiguration.pairs(value), pairs.count <= 64 else {
                return "attributes such as deployment.environment.name=production"
            }
            into.telemetry.resource = Dictionary(pairs.map { ($0.name, $0.value) }) { $1 }
            return nil
        },
        .init(name: "otlp-sampling", placeholder: "RATIO", help: "Which part of traces that begin here is exported (default 1).") {
            value, into in
            guard let ratio = Double(value), (0...1).contains(ratio) else { return "a number from 0 to 1" }
            into.telemetry.sampling = ratio
            return nil
        },
        .init(name: "telemetry-users", placeholder: "on|off", help: "Users' names in traces and GenAI metrics (default off).") {
            value, into in
            guard let on = Bool(configured: value) else { return "on or off" }
            into.telemetry.namesUsers = on
            return nil
        },
    ]
}

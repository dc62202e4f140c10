import API
import ArgumentParser
import Foundation

/// Options that every command which talks to a server has.
struct Connection: ParsableArguments {
    @Option(help: "Address of the server. Default: SLIPWAY_URL, else where you signed in.")
    var url: String?

    @Option(help: "PEM certificates to trust instead of the system's. Default: SLIPWAY_CA_FILE, else those you signed in with.")
    var caFile: String?

    @Option(help: "How to print the result: text or json.")
    var output: OutputFormat = .text

    /// - Throws: `Failure` when nobody has signed in.
    func client() throws -> APIClient {
        let environment = ProcessInfo.processInfo.environment
        let stored = try StoredLogin.load()
        let token = environment["SLIPWAY_TOKEN"].flatMap { $0.isEmpty ? nil : $0 }
        guard let address = url ?? environment["SLIPWAY_URL"].flatMap({ $0.isEmpty ? nil : $0 }) ?? stored?.url else {
            throw Failure(.notAllowed, "You are not signed in.", hint: "Use 'slipway login URL'.")
        }
        let ca = caFile ?? StoredLogin.environmentCAFile ?? stored?.caFile
        // Also says what is wrong with an address before anything is said about signing in there.
        let stranger = try APIClient(url: address, token: token, caFile: ca)
        if token != nil { return stranger }
        // A token goes to the server that gave it, and to no other.
        guard let stored, Self.same(stored.url, address) else {
            throw Failure(
                .notAllowed, "You are not signed in at \(address).", hint: "Use 'slipway login \(address)', or set SLIPWAY_TOKEN.")
        }
        return try APIClient(url: address, token: stored.token, caFile: ca)
    }

    private static func same(_ a: String, _ b: String) -> Bool {
        func plain(_ url: String) -> String { String(url.lowercased().reversed().drop { $0 == "/" }.reversed()) }
        return plain(a) == plain(b)
    }

    /// Says that something is done which has no value of its own.
    func done(_ message: String) throws { try show(["message": message]) { _ in print(message) } }

    /// Prints a value as JSON, or as `text` does.
    func show<Value: Encodable>(_ value: Value, text: (Value) -> Void) throws {
        switch output {
        case .json: print(String(decoding: try APICoding.encoder(pretty: true).encode(value), as: UTF8.self))
        case .text: text(value)
        }
    }
}

enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json
}

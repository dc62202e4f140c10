import CPostgres
import Core
import Dispatch
import Foundation

/// Opens connections. libpq resolves names with blocking calls, so this happens on a thread of its own, never on the loop.
enum Connector {
    private static let queue = DispatchQueue(label: "postgres.connect", attributes: .concurrent)

    /// - Throws: `PostgresError` with `isConnectionLost`, saying where and why.
    static func connect(_ configuration: PostgresConfiguration) async throws -> Channel {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try open(configuration) }) }
        }
    }

    private static func open(_ configuration: PostgresConfiguration) throws -> Channel {
        let seconds = max(2, Int(configuration.connectTimeout.components.seconds))
        // Later settings win over earlier ones, so what the URL says wins over these defaults.
        let settings: [(String, String)] = [
            ("connect_timeout", "\(seconds)"), ("keepalives_idle", "15"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"), ("dbname", configuration.url.reveal()),
            ("fallback_application_name", configuration.applicationName), ("client_encoding", "UTF8"),
        ]
        let keywords = CStrings(settings.map(\.0))
        let values = CStrings(settings.map(\.1))
        let connected = PQconnectdbParams(keywords.pointers, values.pointers, 1)
        withExtendedLifetime((keywords, values)) {}
        guard let handle = connected else { throw PostgresError.lost("out of memory") }
        do {
            guard PQstatus(handle) == CONNECTION_OK else { throw PostgresError.lost(String(cString: PQerrorMessage(handle))) }
            slipway_pq_ignore_notices(handle)
            try prepareSession(handle, configuration.settings)
        } catch {
            PQfinish(handle)
            throw error
        }
        return Channel(handle)
    }

    private static func prepareSession(_ handle: OpaquePointer, _ settings: [String: String]) throws {
        guard PQserverVersion(handle) >= 140_000 else {
            let version = PQserverVersion(handle)
            throw AppError(
                .unavailable, "The database is PostgreSQL \(version / 10000).\(version % 10000); Slipway needs version 14 or newer."
            )
        }
        guard let encoding = PQparameterStatus(handle, "server_encoding").map({ String(cString: $0) }), encoding == "UTF8" else {
            throw AppError(.unavailable, "The database does not use UTF-8. Create it with ENCODING 'UTF8'.")
        }
        // Periods and days are UTC whatever the server's own setting is.
        let own = settings.sorted { $0.key < $1.key }.map { "; SET \($0.key) = \($0.value)" }.joined()
        let result = PQexec(handle, "SET TimeZone = 'UTC'; SET client_min_messages = warning" + own)
        defer { PQclear(result) }
        guard PQresultStatus(result) == PGRES_COMMAND_OK else { throw PostgresError.lost(String(cString: PQerrorMessage(handle))) }
        guard PQsetnonblocking(handle, 1) == 0, PQenterPipelineMode(handle) == 1 else {
            throw PostgresError.lost(String(cString: PQerrorMessage(handle)))
        }
    }
}

/// A NULL-terminated array of C strings.
private final class CStrings {
    let pointers: UnsafeMutablePointer<UnsafePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        pointers = .allocate(capacity: count + 1)
        for (index, string) in strings.enumerated() { pointers[index] = UnsafePointer(strdup(string)) }
        pointers[count] = nil
    }

    deinit {
        for index in 0..<count { free(UnsafeMutablePointer(mutating: pointers[index])) }
        pointers.deallocate()
    }
}

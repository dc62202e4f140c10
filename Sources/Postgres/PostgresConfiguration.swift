import Core

/// Where the database is and how many connections may be open to it.
package struct PostgresConfiguration: Sendable {
    /// `postgres://…` or a libpq conninfo string; it holds a password.
    package var url: Secret<String>
    package var maxConnections: Int
    /// How long a caller waits for a free connection before it gets `unavailable`.
    package var acquireTimeout: Duration
    package var connectTimeout: Duration
    /// Shown in `pg_stat_activity`.
    package var applicationName: String
    /// Run-time parameters of each session, such as `enable_seqscan`: name and value.
    package var settings: [String: String] = [:]

    package init(
        url: Secret<String>, maxConnections: Int = 16, acquireTimeout: Duration = .seconds(5),
        connectTimeout: Duration = .seconds(5), applicationName: String = "slipway"
    ) {
        self.url = url
        self.maxConnections = max(1, maxConnections)
        self.acquireTimeout = acquireTimeout
        self.connectTimeout = connectTimeout
        self.applicationName = applicationName
    }

    package init(url: String, maxConnections: Int = 16) {
        self.init(url: Secret(url), maxConnections: maxConnections)
    }
}

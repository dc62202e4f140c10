import CPostgres

/// What PostgreSQL answered instead of a result, or that it answered nothing because the connection is gone.
///
/// A statement that failed with `isConnectionLost` may or may not have taken effect: it is never repeated silently.
package struct PostgresError: Error, Sendable {
    /// Five characters, e.g. `23505`; `08006` when the connection was lost.
    package var sqlState: String
    package var message: String
    package var detail: String?
    package var constraint: String?
    package var table: String?
    /// The statement that failed, with `$n` for its values; for the log.
    package var statement: String?

    package init(
        sqlState: String, message: String, detail: String? = nil, constraint: String? = nil, table: String? = nil,
        statement: String? = nil
    ) {
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.constraint = constraint
        self.table = table
        self.statement = statement
    }

    package var isUniqueViolation: Bool { sqlState == "23505" }
    package var isForeignKeyViolation: Bool { sqlState == "23503" }
    /// The transaction may succeed when it is run again from its start (also after a deadlock).
    package var isSerializationFailure: Bool { sqlState == "40001" || sqlState == "40P01" }
    package var isConnectionLost: Bool {
        sqlState.hasPrefix("08") || sqlState == "57P01" || sqlState == "57P02" || sqlState == "57P03"
    }
    /// The disk of the database is full.
    package var isDiskFull: Bool { sqlState == "53100" }
    /// The same may succeed later, when somebody has seen to the database: connections, memory, disk, its system, a standby that takes
    /// no writes (25006), a statement or a lock that took too long (57014, 55P03).
    package var isTransient: Bool {
        isConnectionLost || isSerializationFailure || sqlState.hasPrefix("53") || sqlState.hasPrefix("58")
            || ["25006", "57014", "55P03"].contains(sqlState)
    }
    /// A value that does not fit its type: out of range, no text, no time.
    package var isBadValue: Bool { ["22001", "22003", "22008", "22021", "22P05"].contains(sqlState) }
    var isCancelled: Bool { sqlState == "57014" }
}

extension PostgresError {
    static func lost(_ reason: String) -> Self {
        let reason = reason.split(whereSeparator: \.isNewline).joined(separator: " ")
        return .init(
            sqlState: "08006", message: "The connection to PostgreSQL was lost: \(reason.isEmpty ? "no reason given" : reason)")
    }

    /// Reads the error out of a result of status `PGRES_FATAL_ERROR`.
    init(result: OpaquePointer, statement: String?) {
        func field(_ code: Character) -> String? {
            PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
        }
        let message = field("M") ?? String(cString: PQresultErrorMessage(result))
        self.init(
            sqlState: field("C") ?? "08006", message: message.split(whereSeparator: \.isNewline).joined(separator: " "),
            detail: field("D"), constraint: field("n"), table: field("t"), statement: statement)
    }
}

extension PostgresError: CustomStringConvertible {
    package var description: String {
        var text = "PostgreSQL \(sqlState): \(message)"
        if let detail { text += " (\(detail))" }
        if let statement { text += " in: \(statement.prefix(300))" }
        return text
    }
}

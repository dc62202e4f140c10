import Core
import Foundation
import Postgres

/// A column that holds values sealed by the key ring. By convention it is called `sealed`, and a value's place is the row's `id`.
struct SealedColumn: Sendable, Equatable {
    var table: String
    /// SQL for the row's name, as it stands in a value's place.
    var row = "id::text"

    static let sentinel = SealedColumn(table: "key_sentinel", row: "one::text")

    func place(_ row: String) -> KeyRing.Place {
        // The sentinel's row is older than the convention.
        KeyRing.Place(table: table, column: "sealed", row: self == Self.sentinel ? "one" : row)
    }
}

/// The SQL of everything that is sealed.
struct SealedValues: Sendable {
    let pool: PostgresPool

    /// All columns by that name, the sentinel last: as long as anything else needs an old key, so does the sentinel.
    func columns() async throws -> [SealedColumn] {
        let tables = try await pool.query(
            """
            SELECT table_name::text AS name FROM information_schema.columns
            WHERE table_schema = current_schema() AND column_name = 'sealed' ORDER BY table_name
            """
        ).map { try $0["name", as: String.self] }
        return tables.filter { $0 != SealedColumn.sentinel.table }.map { SealedColumn(table: $0) } + [.sentinel]
    }

    /// How many values each key encrypts, by its id.
    func counts() async throws -> [String: Int] {
        var counts: [String: Int] = [:]
        for column in try await columns() {
            let rows = try await pool.query(
                """
                SELECT convert_from(substring(sealed FROM 1 FOR position('\\x00'::bytea IN sealed) - 1), 'UTF8') AS key, count(*) AS n
                FROM \(unsafeSQL: column.table) WHERE position('\\x00'::bytea IN sealed) > 1 GROUP BY 1
                """)
            for row in rows { counts[try row["key"], default: 0] += try row["n", as: Int.self] }
        }
        return counts
    }

    /// Seals up to `limit` values of a column with the ring's first key, in one transaction. Rows that somebody changes meanwhile
    /// are left for the next batch.
    /// - Returns: how many; fewer than `limit` when none is left to take.
    func reseal(_ column: SealedColumn, with ring: KeyRing, limit: Int) async throws -> Int {
        let prefix = Data(ring.primaryID.utf8) + [0]
        return try await pool.withTransaction { connection in
            let rows = try await connection.query(
                """
                SELECT \(unsafeSQL: column.row) AS row, sealed FROM \(unsafeSQL: column.table)
                WHERE substring(sealed FROM 1 FOR \(prefix.count)::int) <> \(prefix)
                ORDER BY 1 LIMIT \(limit) FOR UPDATE SKIP LOCKED
                """)
            for row in rows {
                let name = try row["row", as: String.self]
                let place = column.place(name)
                let sealed = try ring.seal(try ring.open(row["sealed"], at: place), at: place)
                try await connection.execute(
                    "UPDATE \(unsafeSQL: column.table) SET sealed = \(sealed) WHERE \(unsafeSQL: column.row) = \(name)")
            }
            return rows.count
        }
    }
}

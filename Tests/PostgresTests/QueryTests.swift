import Core
import Foundation
import Postgres
import Testing
import TestSupport

@Suite struct QueryTests {
    @Test func `a bound value comes back as it was`() async throws {
        try await withDatabase { pool in
            let id = TaskID()
            let row = try await pool.query(
                """
                SELECT \("naïve '; DROP TABLE x --") AS text, \(42) AS int, \(Int32(-7)) AS int4, \(true) AS bool, \(2.5) AS double,
                    \(Data([0, 1, 255])) AS bytes, \(Data()) AS empty, \(id) AS id, \(Date(timeIntervalSince1970: 1.25)) AS date,
                    \(NanoDollars(9)) AS nanos, \(String?.none) AS missing, \(["a", nil, ""] as [String?]) AS texts,
                    \([1, 2]) AS ints, \([Data([7])]) AS blobs, \([] as [UUID]) AS none, \(JSON(["k": [1, 2]])) AS json
                """)[0]
            #expect(try row["text"] == "naïve '; DROP TABLE x --")
            #expect(try row["int", as: Int.self] == 42)
            #expect(try row["int4", as: Int32.self] == -7)
            #expect(try row["int4", as: Int.self] == -7)
            #expect(try row["bool", as: Bool.self])
            #expect(try row["double", as: Double.self] == 2.5)
            #expect(try row["bytes", as: Data.self] == Data([0, 1, 255]))
            #expect(try row["empty", as: Data?.self] == Data())
            #expect(try row["id", as: TaskID.self] == id)
            #expect(try row["date", as: Date.self] == Date(timeIntervalSince1970: 1.25))
            #expect(try row["nanos", as: NanoDollars.self] == NanoDollars(9))
            #expect(try row["missing", as: String?.self] == nil)
            #expect(try row["texts", as: [String?].self] == ["a", nil, ""])
            #expect(try row["ints", as: [Int].self] == [1, 2])
            #expect(try row["blobs", as: [Data].self] == [Data([7])])
            #expect(try row["none", as: [UUID].self] == [])
            #expect(try row["json", as: JSON<[String: [Int]]>.self].value == ["k": [1, 2]])
            #expect(try row[1, as: Int.self] == 42)
        }
    }
}

extension QueryTests {
    @Test func `numeric and other integers are read exactly`() async throws {
        try await withDatabase(migrated: false) { pool in
            let row = try await pool.query(
                """
                SELECT sum(x)::numeric AS sum, 0::numeric AS zero, -1234567.00890::numeric AS decimals, 1e30::numeric AS huge,
                    3::int2 AS small, count(*) AS count, 'NaN'::numeric AS nan, 0.0001::numeric AS tiny, 100000000::numeric AS round
                FROM unnest(ARRAY[9007199254740993, 1]::int8[]) AS x
                """)[0]
            #expect(try row["sum", as: Int.self] == 9_007_199_254_740_994)
            #expect(try row["zero", as: Int.self] == 0)
            #expect(try row["decimals", as: String.self] == "-1234567.00890")
            #expect(try row["decimals", as: Double.self] == -1_234_567.0089)
            #expect(try row["huge", as: String.self] == "1" + String(repeating: "0", count: 30))
            #expect(throws: AppError.self) { try row["huge", as: Int.self] }
            #expect(try row["small", as: Int.self] == 3)
            #expect(try row["count", as: Int.self] == 2)
            let nan = try row["nan", as: Double.self]
            #expect(nan.isNaN)
            #expect(try row["tiny", as: String.self] == "0.0001")
            #expect(try row["round", as: Int.self] == 100_000_000)
        }
    }

    @Test func `a column that does not read as asked is named with its type`() async throws {
        try await withDatabase(migrated: false) { pool in
            let row = try await pool.query("SELECT 1::int8 AS n, NULL::text AS t, '10.0.0.1'::inet AS address")[0]
            func message<Value: PostgresDecodable>(_ column: String, _: Value.Type) -> String? {
                do { _ = try row[column, as: Value.self] } catch { return (error as? AppError)?.message }
                return nil
            }
            #expect(message("n", UUID.self) == "Column 'n' is int8, which is not read as UUID.")
            #expect(message("t", String.self) == "Column 't' is NULL.")
            #expect(message("x", Int.self) == "The result has no column 'x'.")
            #expect(message("address", String.self)?.contains("cast it to text") == true)
        }
    }

    @Test func `a query put into another keeps its values apart`() async throws {
        let inner: Query = "b = \(2) AND c = \("x")"
        let outer: Query = "SELECT \(1) WHERE \(inner) OR \(inner)" + " LIMIT \(3)"
        #expect(outer.sql == "SELECT $1 WHERE b = $2 AND c = $3 OR b = $4 AND c = $5 LIMIT $6")
        try await withDatabase(migrated: false) { pool in
            let filter: Query = "x > \(1) AND x < \(4)"
            let rows = try await pool.query(
                "SELECT x * \(10) AS x FROM generate_series(0, 9) AS x WHERE \(filter) ORDER BY x LIMIT \(5)")
            #expect(try rows.map { try $0["x", as: Int.self] } == [20, 30])
        }
    }

    @Test func `optional values need no cast`() async throws {
        try await withDatabase(migrated: false) { pool in
            let wanted: Int? = nil
            let rows = try await pool.query("SELECT x FROM generate_series(1, 3) AS x WHERE \(wanted) IS NULL OR x = \(wanted)")
            #expect(rows.count == 3)
        }
    }

    @Test func `infinite and exact times survive`() async throws {
        try await withDatabase(migrated: false) { pool in
            let exact = Date(timeIntervalSince1970: 1_900_000_000.123456)
            let row = try await pool.query(
                "SELECT \(Date.distantFuture) AS future, \(exact) AS exact, 'epoch'::timestamp AS epoch, '2000-01-02'::date AS day")[
                    0]
            #expect(try row["future", as: Date.self] == .distantFuture)
            let stored = try row["exact", as: Date.self]
            #expect(abs(stored.timeIntervalSince(exact)) < 0.000_001)
            #expect(try row["epoch", as: Date.self] == Date(timeIntervalSince1970: 0))
            #expect(try row["day", as: Date.self] == Date(timeIntervalSince1970: 946_771_200))
        }
    }

    @Test func `errors carry state, constraint and statement`() async throws {
        try await withDatabase(migrated: false) { pool in
            try await pool.execute("CREATE TABLE t (id int PRIMARY KEY)")
            try await pool.execute("INSERT INTO t VALUES (1)")
            let error = await #expect(throws: PostgresError.self) { try await pool.execute("INSERT INTO t VALUES (\(1))") }
            #expect(error?.isUniqueViolation == true)
            #expect(error?.constraint == "t_pkey")
            #expect(error?.statement == "INSERT INTO t VALUES ($1)")
            let null = await #expect(throws: PostgresError.self) { try await pool.query("SELECT \("a\u{0}b")") }
            #expect(null?.sqlState == "22021")
            #expect(try await pool.query("SELECT 1").count == 1)
        }
    }
}

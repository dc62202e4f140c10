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

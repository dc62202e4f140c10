import CPostgres
import Core

/// A row of a result. It keeps the memory of the whole result alive: read what you need and let it go.
package struct Row: Sendable {
    let result: ResultSet
    let index: Int32

    /// - Throws: `internal`, naming the column and its type, when it does not exist, is NULL or does not read as `Value`.
    package subscript<Value: PostgresDecodable>(_ column: String, as type: Value.Type = Value.self) -> Value {
        get throws {
            guard let field = result.columns.index[column] else {
                throw AppError(
                    .internal, "The result has no column '\(column)'.",
                    detail: "It has \(result.columns.names.joined(separator: ", ")).")
            }
            return try decode(field, as: type)
        }
    }

    /// By position, from 0.
    package subscript<Value: PostgresDecodable>(_ column: Int, as type: Value.Type = Value.self) -> Value {
        get throws {
            guard result.columns.names.indices.contains(column) else {
                throw AppError(.internal, "The result has \(result.columns.names.count) columns, there is no number \(column).")
            }
            return try decode(Int32(column), as: type)
        }
    }

    private func decode<Value: PostgresDecodable>(_ field: Int32, as type: Value.Type) throws -> Value {
        let pointer = result.pointer
        var bytes: UnsafeRawBufferPointer?
        if PQgetisnull(pointer, index, field) == 0 {
            bytes = UnsafeRawBufferPointer(start: PQgetvalue(pointer, index, field), count: Int(PQgetlength(pointer, index, field)))
        }
        do {
            return try withExtendedLifetime(result) {
                try Value.decode(PostgresCell(type: PQftype(pointer, field), bytes: bytes))
            }
        } catch let error as PostgresCell.Mismatch {
            throw AppError(.internal, "Column '\(result.columns.names[Int(field)])' \(error.reason).")
        } catch {
            throw AppError(.internal, "Column '\(result.columns.names[Int(field)])' does not read as \(Value.self).", cause: error)
        }
    }
}

/// The names of a result's columns, kept with the prepared statement.
final class Columns: Sendable {
    let names: [String]
    let index: [String: Int32]

    init(of result: OpaquePointer) {
        names = (0..<PQnfields(result)).map { String(cString: PQfname(result, $0)) }
        index = Dictionary(names.enumerated().map { ($1, Int32($0)) }, uniquingKeysWith: { first, _ in first })
    }
}

/// A finished `PGresult`. Unchecked: nothing writes to it any more, and reading functions of libpq are safe from any thread.
final class ResultSet: @unchecked Sendable {
    let pointer: OpaquePointer
    let columns: Columns

    init(_ pointer: OpaquePointer, columns: Columns) {
        self.pointer = pointer
        self.columns = columns
    }

    deinit { PQclear(pointer) }

    var rows: [Row] { (0..<PQntuples(pointer)).map { Row(result: self, index: $0) } }
    var affected: Int { Int(String(cString: PQcmdTuples(pointer))) ?? 0 }
    /// E.g. `COMMIT`, `INSERT 0 1`.
    var tag: String { String(cString: PQcmdStatus(pointer)) }
}

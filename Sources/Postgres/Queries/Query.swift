/// A statement with its values: `"SELECT name FROM users WHERE id = \(id)"` binds `id` as `$1`, it never becomes text of the statement.
///
/// `\(unsafeSQL: text)` puts text into the statement; the call site shows it. `\(query)` puts another query in, with its values.
/// The text is the key under which each connection keeps the prepared statement, so let only values vary.
package struct Query: Sendable, ExpressibleByStringInterpolation {
    package private(set) var sql: String
    private(set) var parameters: [Parameter] = []
    /// The binary forms of all values, one after the other.
    private(set) var bytes: [UInt8] = []
    /// The first value that could not be encoded; thrown when the query is run.
    private(set) var failure: (any Error)?

    struct Parameter: Sendable {
        var type: UInt32
        var offset: Int
        /// -1 is NULL.
        var length: Int
        /// Where its `$n` begins in `sql`, in UTF-8 code units.
        var position: Int
    }

    package init(stringLiteral value: String) { sql = value }
    package init(unsafeSQL text: String) { sql = text }
    package init(stringInterpolation: StringInterpolation) { self = stringInterpolation.query }

    package struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var query = Query(unsafeSQL: "")

        package init(literalCapacity: Int, interpolationCount: Int) {
            query.sql.reserveCapacity(literalCapacity + interpolationCount * 3)
            query.parameters.reserveCapacity(interpolationCount)
        }

        package mutating func appendLiteral(_ literal: String) { query.sql += literal }
        package mutating func appendInterpolation(_ value: some PostgresEncodable) { query.bind(value) }
        /// Without it the compiler takes an optional value for a mistake: here nil is NULL.
        package mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value?) { query.bind(value) }
        package mutating func appendInterpolation(unsafeSQL text: String) { query.sql += text }
        package mutating func appendInterpolation(_ other: Query) { query.append(other) }
    }

    package static func + (a: Query, b: Query) -> Query {
        var sum = a
        sum.append(b)
        return sum
    }

    package static func += (a: inout Query, b: Query) { a.append(b) }

    private mutating func bind<Value: PostgresEncodable>(_ value: Value) {
        let offset = bytes.count
        var isPresent = false
        do { isPresent = try value.encode(into: &bytes) } catch { failure = failure ?? error }
        place(type: Value.postgresType.oid, offset: offset, length: isPresent ? bytes.count - offset : -1)
    }

    private mutating func place(type: UInt32, offset: Int, length: Int) {
        parameters.append(.init(type: type, offset: offset, length: length, position: sql.utf8.count))
        sql += "$\(parameters.count)"
    }

    private mutating func append(_ other: Query) {
        let base = bytes.count
        bytes += other.bytes
        failure = failure ?? other.failure
        let text = other.sql.utf8
        var end = text.startIndex
        var taken = 0
        for (number, parameter) in other.parameters.enumerated() {
            let start = text.index(end, offsetBy: parameter.position - taken)
            sql += other.sql[end..<start]
            place(type: parameter.type, offset: base + parameter.offset, length: parameter.length)
            let width = "$\(number + 1)".utf8.count
            end = text.index(start, offsetBy: width)
            taken = parameter.position + width
        }
        sql += other.sql[end...]
    }
}

import Core
import Foundation

/// Comma-separated values as RFC 4180 has them: fields in quotes may hold commas, line ends and doubled quotes. A byte-order mark is
/// skipped; a first line with tabs or semicolons and no comma is separated by those.
struct CSV: Sendable, Equatable {
    var header: [String]
    /// With the line on which each began, from 1.
    var rows: [(line: Int, fields: [String])]

    static func == (a: CSV, b: CSV) -> Bool {
        a.header == b.header && a.rows.map(\.line) == b.rows.map(\.line) && a.rows.map(\.fields) == b.rows.map(\.fields)
    }

    /// - Throws: `badRequest` with the line: no text, a quote that does not end, a row with more or fewer fields than the header.
    init(_ data: Data) throws {
        guard var text = String(validating: data, as: UTF8.self) else {
            throw AppError(.badRequest, "The file is no text in UTF-8.", field: "file")
        }
        if text.hasPrefix("\u{FEFF}") { text.removeFirst() }
        var records = try Self.records(Array(text.utf8))
        records.removeAll { $0.fields == [""] }
        guard let first = records.first else { throw AppError(.badRequest, "The file is empty.", field: "file") }
        header = first.fields
        rows = Array(records.dropFirst())
        for row in rows where row.fields.count != header.count {
            throw AppError(
                .badRequest, "Line \(row.line) has \(row.fields.count) fields; the header has \(header.count).", field: "file")
        }
    }

    private static func records(_ bytes: [UInt8]) throws -> [(line: Int, fields: [String])] {
        let separator = separator(bytes)
        var records: [(line: Int, fields: [String])] = []
        var fields: [String] = []
        var field: [UInt8] = []
        var (line, began, isQuoted) = (1, 1, false)
        func text() -> String { String(decoding: field, as: UTF8.self) }
        var at = 0
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            if byte == UInt8(ascii: "\n") { line += 1 }
            if isQuoted {
                if byte != UInt8(ascii: "\"") {
                    field.append(byte)
                } else if at < bytes.count, bytes[at] == UInt8(ascii: "\"") {
                    field.append(byte)
                    at += 1
                } else {
                    isQuoted = false
                }
            } else if byte == UInt8(ascii: "\""), field.isEmpty {
                isQuoted = true
            } else if byte == separator {
                fields.append(text())
                field = []
            } else if byte == UInt8(ascii: "\n") {
                fields.append(text())
                records.append((began, fields))
                (fields, field, began) = ([], [], line)
            } else if byte != UInt8(ascii: "\r") {
                field.append(byte)
            }
        }
        if isQuoted {
            throw AppError(.badRequest, "A quote that begins in the record on line \(began) does not end.", field: "file")
        }
        if !field.isEmpty || !fields.isEmpty {
            fields.append(text())
            records.append((began, fields))
        }
        return records
    }

    private static func separator(_ bytes: [UInt8]) -> UInt8 {
        let first = bytes.prefix { $0 != UInt8(ascii: "\n") }
        if first.contains(UInt8(ascii: ",")) { return UInt8(ascii: ",") }
        return [UInt8(ascii: "\t"), UInt8(ascii: ";")].first { first.contains($0) } ?? UInt8(ascii: ",")
    }
}

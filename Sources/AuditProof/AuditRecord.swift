import Core
import Foundation

/// What an entry is about, field by field: the same as its canonical bytes, in words.
package struct AuditRecord: Sendable, Equatable {
    package enum Value: Sendable, Equatable {
        case none
        case text(String)
        case bytes(Data)
        case number(Int64)
        case flag(Bool)
        case id(UUID)
        case numbers([Int64])
    }

    /// A name of `RecordForm`.
    package var form: String
    package var values: [String: Value]

    /// Reads canonical bytes.
    ///
    /// - Throws: `badRequest` for bytes that are of no known form.
    package init(_ canonical: Canonical) throws {
        var reader = CanonicalReader(canonical.bytes)
        guard case .text(let name) = try reader.value(), let form = RecordForm.named(name) else {
            throw AppError(.badRequest, "The record is of no form that this version knows.")
        }
        self.form = name
        values = [:]
        for field in form.fields { values[field.name] = try reader.value() }
        if let tail = form.tail, !reader.isAtEnd { values[tail.name] = try reader.value() }
        guard reader.isAtEnd else { throw AppError(.badRequest, "The record has more fields than \(name).") }
    }

    /// - Throws: `badRequest` naming the field that is missing or of another kind.
    package func canonical() throws -> Canonical {
        guard let known = RecordForm.named(form) else {
            throw AppError(.badRequest, "'\(form.prefix(40))' is no form of a record that this version knows.")
        }
        let fields = known.fields + (known.tail.flatMap { values[$0.name] == nil ? nil : [$0] } ?? [])
        guard values.count == fields.count else {
            throw AppError(.badRequest, "The record has \(values.count) fields, but \(form) has \(fields.count).")
        }
        var canonical = Canonical(form)
        for field in fields {
            switch (values[field.name], field.kind) {
            case (.some(.none), _): canonical.add(String?.none)
            case (.text(let text), .text): canonical.add(text)
            case (.bytes(let bytes), .bytes): canonical.add(bytes)
            case (.number(let number), .number): canonical.add(number)
            case (.flag(let flag), .flag): canonical.add(flag)
            case (.id(let id), .id): canonical.add(id)
            case (.numbers(let numbers), .numbers): canonical.add(numbers)
            default: throw AppError(.badRequest, "The field \(field.name) of the record is missing or of another kind.")
            }
        }
        return canonical
    }

    /// What an entry about this record names as its subject; nil for a record that says nothing of the kind.
    package var subject: String? {
        func id(_ name: String) -> String? { if case .id(let id) = values[name] { id.uuidString.lowercased() } else { nil } }
        if form.hasPrefix("ledger-") || form.hasPrefix("attempt-") {
            guard let interception = id("interception_id"), case .number(let attempt) = values["attempt"] else { return nil }
            return "\(interception)/\(attempt)"
        }
        // Of a finding the id says of what call, in which part, and the how-manieth it is.
        if form.hasPrefix("finding-") { if case .text(let id) = values["id"] { return id } else { return nil } }
        if form.hasPrefix("correction-") {
            guard let interception = id("interception_id"), case .number(let attempt) = values["attempt"],
                case .number(let n) = values["n"]
            else { return nil }
            return "\(interception)/\(attempt)/\(n)"
        }
        return id(form.hasPrefix("tool-result-") ? "call_id" : "id")
    }
}

/// As JSON: `form`, and each field by its name; bytes are hexadecimal, numbers are whole, times are microseconds since 1970.
extension AuditRecord: Codable {
    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(_ text: String) { stringValue = text }
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(form, forKey: Key("form"))
        for (name, value) in values {
            let key = Key(name)
            switch value {
            case .none: try container.encodeNil(forKey: key)
            case .text(let text): try container.encode(text, forKey: key)
            case .bytes(let bytes): try container.encode(bytes.hex, forKey: key)
            case .number(let number): try container.encode(number, forKey: key)
            case .flag(let flag): try container.encode(flag, forKey: key)
            case .id(let id): try container.encode(id.uuidString.lowercased(), forKey: key)
            case .numbers(let numbers): try container.encode(numbers, forKey: key)
            }
        }
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        form = try container.decode(String.self, forKey: Key("form"))
        values = [:]
        guard let known = RecordForm.named(form) else { return }
        func wrong(_ name: String) -> DecodingError {
            DecodingError.dataCorruptedError(forKey: Key(name), in: container, debugDescription: "\(name) cannot be read")
        }
        let tail = known.tail.flatMap { container.contains(Key($0.name)) ? [$0] : nil } ?? []
        for (name, kind) in known.fields + tail {
            let key = Key(name)
            if try container.decodeNil(forKey: key) {
                values[name] = Value.none
                continue
            }
            switch kind {
            case .text: values[name] = .text(try container.decode(String.self, forKey: key))
            case .number: values[name] = .number(try container.decode(Int64.self, forKey: key))
            case .flag: values[name] = .flag(try container.decode(Bool.self, forKey: key))
            case .numbers: values[name] = .numbers(try container.decode([Int64].self, forKey: key))
            case .bytes:
                guard let bytes = Data(hex: try container.decode(String.self, forKey: key)) else { throw wrong(name) }
                values[name] = .bytes(bytes)
            case .id:
                guard let id = UUID(uuidString: try container.decode(String.self, forKey: key)) else { throw wrong(name) }
                values[name] = .id(id)
            }
        }
    }
}

/// The fields of one JSON object, each value as the text that it came as: what nobody changes goes on byte for byte.
///
/// Strict: an object that names a field twice is refused, since another reader could see another value than this one.
package struct JSONObjectText: Sendable, Equatable {
    private struct Field: Sendable, Equatable {
        var name: String
        var value: String
    }

    private var fields: [Field] = []

    package init() {}

    /// Nil for what is no JSON object, is nested deeper than 120 levels, or names a field twice.
    package init?(_ text: String) {
        var text = text
        let read = text.withUTF8 { Self.read(UnsafeRawBufferPointer($0)) }
        guard let read else { return nil }
        fields = read
    }

    /// The value of a field, as JSON.
    package subscript(name: String) -> String? {
        get { fields.first { $0.name == name }?.value }
        set {
            guard let index = fields.firstIndex(where: { $0.name == name }) else {
                if let newValue { fields.append(Field(name: name, value: newValue)) }
                return
            }
            if let newValue { fields[index].value = newValue } else { fields.remove(at: index) }
        }
    }

    /// The value of a field that is a string, unescaped; nil for another kind.
    package func string(_ name: String) -> String? { self[name].flatMap(JSONText.string) }

    /// The value of a field that is an object.
    package func object(_ name: String) -> JSONObjectText? { self[name].flatMap { JSONObjectText($0) } }

    package var isEmpty: Bool { fields.isEmpty }

    package var names: [String] { fields.map(\.name) }

    package var text: String {
        "{" + fields.map { JSONText.quoted($0.name) + ":" + $0.value }.joined(separator: ",") + "}"
    }

    private static func read(_ bytes: UnsafeRawBufferPointer) -> [Field]? {
        var cursor = JSONCursor(bytes)
        var fields: [Field] = []
        var names: Set<String> = []
        do throws(JSONFailure) {
            var walk = try cursor.enterObject()
            while let key = try cursor.nextKey(&walk) {
                let name = key.string()
                guard names.insert(name).inserted else { return nil }
                let range = try cursor.range()
                fields.append(Field(name: name, value: String(decoding: bytes[range], as: UTF8.self)))
            }
            try cursor.expectEnd()
        } catch {
            return nil
        }
        return fields
    }
}

/// Single JSON values as text.
package enum JSONText {
    package static func quoted(_ text: String) -> String {
        var writer = JSONWriter()
        writer.string(text)
        return writer.text
    }

    /// What a JSON string says; nil for another kind of value.
    package static func string(_ json: String) -> String? {
        var json = json
        return json.withUTF8 { bytes in
            var cursor = JSONCursor(UnsafeRawBufferPointer(bytes))
            guard cursor.peek() == UInt8(ascii: "\""), let string = try? cursor.string() else { return nil }
            return string.string()
        }
    }

    /// The elements of an array, each as text; nil for what is no array.
    package static func elements(_ json: String) -> [String]? {
        var json = json
        return json.withUTF8 { bytes in
            var cursor = JSONCursor(UnsafeRawBufferPointer(bytes))
            var elements: [String] = []
            do throws(JSONFailure) {
                var walk = try cursor.enterArray()
                while try cursor.nextElement(&walk) {
                    elements.append(String(decoding: bytes[try cursor.range()], as: UTF8.self))
                }
                try cursor.expectEnd()
            } catch {
                return nil
            }
            return elements
        }
    }

    package static func isObject(_ json: String) -> Bool { JSONCursor.isObject(json) }

    /// On one line, as server-sent events need it. Between values a line end is white space; in a string it has no business.
    package static func line(_ json: String) -> String {
        json.utf8.contains { $0 == 0x0A || $0 == 0x0D }
            ? json.replacing("\r\n", with: " ").replacing("\n", with: " ").replacing("\r", with: " ") : json
    }
}

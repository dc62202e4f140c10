import Core
import Foundation

/// What a workspace may be called.
enum WorkspaceName {
    /// - Throws: `badRequest`, which says the rule.
    static func check(_ name: String) throws {
        guard (1...64).contains(name.utf8.count), name.utf8.allSatisfy({ isAlphanumeric($0) || isPunctuation($0) }),
            name.utf8.first.map(isAlphanumeric) == true, UUID(uuidString: name) == nil
        else {
            throw AppError(
                .badRequest,
                "A workspace's name is 1 to 64 letters, digits, '-', '_' or '.', begins with a letter or digit, and is no UUID.",
                field: "name")
        }
    }

    /// A name of at most 40 bytes out of any text, e.g. of a task's title.
    static func from(_ text: String) -> String {
        let words = text.lowercased().utf8.split { !isAlphanumeric($0) }.map { String(decoding: $0, as: UTF8.self) }
        var name = words.joined(separator: "-").prefix(40)
        if name.last == "-" { name.removeLast() }
        // One that looks like an id would be taken for one.
        return name.isEmpty || UUID(uuidString: String(name)) != nil ? "task" : String(name)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }

    private static func isPunctuation(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
    }
}

/// Which words a text has for the search: runs of letters and digits. PostgreSQL's own parser takes a path, an address or a tag for one
/// word, or for none, and nobody would find `invoice` in `src/billing/invoice.py`. A pure rule; the same for texts and for what is
/// looked for.
enum SearchText {
    /// The words of a text, apart from each other.
    static func words(_ text: String) -> String {
        String(decoding: text.utf8.map { isOfWord($0) ? $0 : space }, as: UTF8.self)
    }

    /// The same of what is looked for, as `websearch_to_tsquery` reads it: quotation marks, and a minus in front of a word, keep their
    /// meaning.
    static func query(_ text: String) -> String {
        var before = space
        let bytes = text.utf8.map { byte -> UInt8 in
            let isSign = byte == quote || byte == minus && before == space
            before = isSign || isOfWord(byte) ? byte : space
            return before
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static let space = UInt8(ascii: " ")
    private static let quote = UInt8(ascii: "\"")
    private static let minus = UInt8(ascii: "-")

    /// What is no ASCII is of a word.
    private static func isOfWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: byte >= 0x80
        }
    }
}

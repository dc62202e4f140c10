/// How a passage in the file is indented compared with the text that was looked for.
enum IndentationShift: Equatable {
    case deeper(ArraySlice<UInt8>)
    case shallower(ArraySlice<UInt8>)

    static let none = deeper([])

    /// Nil when neither indentation ends in the other, as with tabs and spaces.
    init?(from old: ArraySlice<UInt8>, to new: ArraySlice<UInt8>) {
        if new.count >= old.count, new.suffix(old.count) == old {
            self = .deeper(new.dropLast(old.count))
        } else if old.count > new.count, old.suffix(new.count) == new {
            self = .shallower(old.dropLast(new.count))
        } else {
            return nil
        }
    }

    /// The new text, indented as the file is; blank lines stay as they are.
    func applied(to text: String) -> String {
        if self == .none { return text }
        let lines = Array(text.utf8).split(separator: 0x0A, omittingEmptySubsequences: false).map { line in
            switch self {
            case .deeper(let prefix): LineText.isBlank(line) ? line : prefix + line
            case .shallower(let prefix): line.starts(with: prefix) ? line.dropFirst(prefix.count) : line
            }
        }
        return String(decoding: Array(lines.joined(separator: [0x0A])), as: UTF8.self)
    }
}

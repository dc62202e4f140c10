import AgentProtocol
import CAgent
import Glibc

/// A pattern as models write them, for glibc's matcher: plain text goes through `memmem`, the rest is a POSIX extended expression
/// with `\d`, `\w`, `\s`, `\b`, `(?:…)` and a leading `(?i)`. Back-references are refused: they take exponential time.
final class SearchPattern {
    private enum Form {
        case literal([UInt8])
        case expression(UnsafeMutablePointer<regex_t>)
    }

    private let form: Form

    init(_ pattern: String, literal: Bool, ignoreCase: Bool) throws(AgentFailure) {
        guard !pattern.isEmpty, pattern.utf8.count <= 2000, !pattern.utf8.contains(0) else {
            throw AgentFailure(.badRequest, "pattern: expected 1 to 2000 bytes without a NUL character")
        }
        let special = Set("\\^$.[]|()?*+{}".utf8)
        if !ignoreCase, literal || !pattern.utf8.contains(where: special.contains) {
            form = .literal(Array(pattern.utf8))
            return
        }
        var ignoreCase = ignoreCase
        let text = literal ? Self.escape(pattern, special) : try Self.translate(pattern, &ignoreCase)
        let expression = UnsafeMutablePointer<regex_t>.allocate(capacity: 1)
        let error = regcomp(expression, text, REG_EXTENDED | REG_NEWLINE | (ignoreCase ? REG_ICASE : 0))
        guard error == 0 else {
            var words = [CChar](repeating: 0, count: 200)
            regerror(error, expression, &words, words.count)
            expression.deallocate()
            let reason = String(decoding: words.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            throw AgentFailure(
                .badRequest, "pattern: expected a POSIX extended regular expression (\(reason)); use literal search for plain text")
        }
        form = .expression(expression)
    }

    deinit {
        guard case .expression(let expression) = form else { return }
        regfree(expression)
        expression.deallocate()
    }

    /// Where the first match at or after `start` begins.
    func firstMatch(in text: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard let base = text.baseAddress, start < text.count else { return nil }
        switch form {
        case .literal(let bytes):
            guard let found = cagent_memmem(base + start, text.count - start, bytes, bytes.count) else { return nil }
            return UnsafeRawPointer(found) - base
        case .expression(let expression):
            var match = regmatch_t(rm_so: regoff_t(start), rm_eo: regoff_t(text.count))
            let error = regexec(expression, base.assumingMemoryBound(to: CChar.self), 1, &match, REG_STARTEND)
            return error == 0 && Int(match.rm_so) < text.count ? Int(match.rm_so) : nil
        }
    }

    private static func escape(_ text: String, _ special: Set<UInt8>) -> String {
        String(decoding: text.utf8.flatMap { special.contains($0) ? [UInt8(ascii: "\\"), $0] : [$0] }, as: UTF8.self)
    }

    private static func translate(_ pattern: String, _ ignoreCase: inout Bool) throws(AgentFailure) -> String {
        var rest = pattern[...]
        if rest.hasPrefix("(?i)") {
            ignoreCase = true
            rest = rest.dropFirst(4)
        }
        var text = ""
        var isInBrackets = false
        while let character = rest.popFirst() {
            switch character {
            case "\\":
                guard let next = rest.popFirst() else {
                    throw AgentFailure(.badRequest, "pattern: expected something after the last '\\'")
                }
                switch next {
                case "d": text += isInBrackets ? "0-9" : "[0-9]"
                case "D" where !isInBrackets: text += "[^0-9]"
                case "s" where isInBrackets: text += "[:space:]"
                case "w" where isInBrackets: text += "[:alnum:]_"
                case "t": text += "\t"
                case "1"..."9": throw AgentFailure(.badRequest, "pattern: back-references such as \\\(next) are not supported")
                // In POSIX brackets a backslash is itself.
                default: text += isInBrackets ? String(next) : "\\\(next)"
                }
            case "[" where !isInBrackets:
                isInBrackets = true
                text.append(character)
                if rest.first == "^" { text.append(rest.removeFirst()) }
                if rest.first == "]" { text.append(rest.removeFirst()) }
            case "[" where rest.first == ":":  // a class such as [:alpha:]
                text.append(character)
                while let inner = rest.popFirst() {
                    text.append(inner)
                    if inner == ":", rest.first == "]" {
                        text.append(rest.removeFirst())
                        break
                    }
                    if inner == ":", text.hasSuffix("[:") { continue }
                }
            case "]" where isInBrackets:
                isInBrackets = false
                text.append(character)
            case "(" where !isInBrackets && rest.hasPrefix("?:"):
                rest = rest.dropFirst(2)
                text.append(character)
            default: text.append(character)
            }
        }
        return text
    }
}

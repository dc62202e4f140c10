/// Reads the header lines of an answer as curl hands them over, one call for each line.
struct ResponseHead {
    static let maxBytes = 256 << 10

    private(set) var status = 0
    private(set) var headers: [(name: String, value: String)] = []
    private(set) var isComplete = false
    private var bytes = 0

    enum Line: Equatable {
        case more
        /// The head of the final answer is complete.
        case complete
        case tooLarge
    }

    mutating func feed(_ line: UnsafeRawBufferPointer) -> Line {
        if isComplete { return .more }  // a trailer
        bytes += line.count
        if bytes > Self.maxBytes { return .tooLarge }
        let content = trimmed(line[...])
        if content.isEmpty {
            isComplete = status >= 200  // after 100 Continue and the like, the real head follows
            return isComplete ? .complete : .more
        }
        if line.starts(with: "HTTP/".utf8) {
            headers.removeAll(keepingCapacity: true)
            let digits = content.drop { $0 != UInt8(ascii: " ") }.dropFirst().prefix(3)
            let isNumber = digits.count == 3 && digits.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            status = isNumber ? digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) } : 0
        } else if line[0] == UInt8(ascii: " ") || line[0] == UInt8(ascii: "\t") {
            if !headers.isEmpty { headers[headers.count - 1].value += " " + text(content) }  // obs-fold, RFC 9112 §5.2
        } else if let colon = content.firstIndex(of: UInt8(ascii: ":")) {
            headers.append((text(content[..<colon]), text(trimmed(content[(colon + 1)...]))))
        }
        return .more
    }

    private func text(_ bytes: Slice<UnsafeRawBufferPointer>) -> String { String(decoding: bytes, as: UTF8.self) }

    private func trimmed(_ bytes: Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer> {
        func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 13 || byte == 10 }
        var rest = bytes.drop(while: isSpace)
        while let last = rest.last, isSpace(last) { rest = rest.dropLast() }
        return rest
    }
}

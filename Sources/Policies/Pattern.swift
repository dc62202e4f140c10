/// A name in which `*` stands for any run of characters, also for none and also for `/`.
package struct Pattern: Sendable, Hashable {
    package let text: String
    private let bytes: [UInt8]

    package init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    /// Compares bytes. Without backtracking over more than the last star, so that no pattern makes it slow.
    package func matches(_ name: String) -> Bool {
        var name = name
        return name.withUTF8 { matches($0) }
    }

    private func matches(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
        bytes.withUnsafeBufferPointer { pattern in
            let star = UInt8(ascii: "*")
            var p = 0
            var n = 0
            var last: (p: Int, n: Int)?
            while n < name.count {
                if p < pattern.count, pattern[p] == star {
                    last = (p, n)
                    p += 1
                } else if p < pattern.count, pattern[p] == name[n] {
                    p += 1
                    n += 1
                } else if let from = last {
                    last = (from.p, from.n + 1)
                    p = from.p + 1
                    n = from.n + 1
                } else {
                    return false
                }
            }
            return pattern[p...].allSatisfy { $0 == star }
        }
    }
}

/// Names and patterns, one of which has to match. An empty list matches everything: it does not narrow.
package struct PatternList: Sendable, Hashable {
    /// As they were written.
    package let texts: [String]
    private let exact: Set<String>
    private let globs: [Pattern]

    package init(_ texts: [String] = []) {
        self.texts = texts
        exact = Set(texts.filter { !$0.contains("*") })
        globs = texts.filter { $0.contains("*") }.map(Pattern.init)
    }

    package var isEmpty: Bool { texts.isEmpty }

    /// False for an empty list: see `isEmpty`.
    func names(_ name: String) -> Bool { exact.contains(name) || globs.contains { $0.matches(name) } }

    func allows(_ name: String) -> Bool { isEmpty || names(name) }

    /// Something that is not known matches no list but the empty one.
    func allows(_ name: String?) -> Bool { isEmpty || name.map(names) == true }
}

/// What was found in a text, and where.
package struct Finding: Sendable, Hashable {
    /// E.g. `secret.github_token`.
    package var detector: String
    /// In bytes from the beginning of the text.
    package var range: Range<Int>

    package init(_ detector: String, _ range: Range<Int>) {
        self.detector = detector
        self.range = range
    }
}

/// What a detector reads: bytes from some place on. Reading behind what is there is noted, as the answer may then be another one when
/// more has come.
package struct Lookahead {
    private let bytes: UnsafeBufferPointer<UInt8>
    private(set) var hitEnd = false

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// Zero behind the end.
    subscript(_ index: Int) -> UInt8 {
        mutating get {
            if index < bytes.count { return bytes[index] }
            hitEnd = true
            return 0
        }
    }

    /// How many bytes from `start` on are in the set, at most `limit`.
    mutating func run(_ set: ByteSet, from start: Int, limit: Int) -> Int {
        var count = 0
        while count < limit, set.contains(self[start + count]) { count += 1 }
        return count
    }

    mutating func starts(with text: StaticString, at start: Int = 0) -> Bool {
        for index in 0..<text.utf8CodeUnitCount where self[start + index] != text.utf8Start[index] { return false }
        return true
    }

    /// Bytes that were read before.
    func text(_ range: Range<Int>) -> [UInt8] { Array(bytes[range]) }
}

/// A set of bytes. Never holds zero, which stands for the end.
package struct ByteSet: Sendable {
    private var low: UInt128 = 0
    private var high: UInt128 = 0

    package init(_ letters: String = "") { for byte in letters.utf8 { insert(byte) } }

    package mutating func insert(_ byte: UInt8) {
        if byte == 0 { return }
        if byte < 128 { low |= 1 << UInt128(byte) } else { high |= 1 << UInt128(byte - 128) }
    }

    package func contains(_ byte: UInt8) -> Bool {
        byte < 128 ? low >> UInt128(byte) & 1 == 1 : high >> UInt128(byte - 128) & 1 == 1
    }

    package static func + (a: ByteSet, b: ByteSet) -> ByteSet {
        var sum = a
        sum.low |= b.low
        sum.high |= b.high
        return sum
    }

    package var inverted: ByteSet {
        var other = ByteSet()
        for byte in UInt8(1)...255 where !contains(byte) { other.insert(byte) }
        return other
    }

    static let digits = ByteSet("0123456789")
    static let upper = ByteSet("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    static let lower = ByteSet("abcdefghijklmnopqrstuvwxyz")
    static let letters = upper + lower
    static let base62 = letters + digits
    static let base64URL = base62 + ByteSet("-_")
    static let base64 = base62 + ByteSet("+/=")
    static let hex = digits + ByteSet("abcdefABCDEF")
}

/// Something that can be found in text. A pure function of the bytes from one place on, and of the one before.
package struct Detector: Sendable {
    package var name: String
    /// A match begins with one of these.
    var first: ByteSet
    /// A match does not follow one of these.
    var notAfter: ByteSet
    /// How many bytes it reads at most; that much of a stream waits for the decision.
    var longest: Int
    /// The length of the match, nil for none.
    var match: @Sendable (inout Lookahead) -> Int?
}

/// Finds what detectors look for in a text that comes in pieces: the same, wherever the cuts are. Of two matches that overlap, the
/// earlier one counts; of two at one place, the one whose detector is named first.
package struct TextScanner: Sendable {
    private let detectors: [Detector]
    /// For each byte, the detectors whose matches may begin with it.
    private let starting: [[Int]]
    private var held: [UInt8] = []
    private var before: UInt8 = 0
    /// Bytes up to here are decided: what was not found in them is not in them.
    package private(set) var decided = 0

    package init(_ detectors: [Detector]) {
        self.detectors = detectors
        starting = (0...255).map { byte in detectors.indices.filter { detectors[$0].first.contains(UInt8(byte)) } }
    }

    package mutating func feed(_ bytes: some Sequence<UInt8>) -> [Finding] {
        held.append(contentsOf: bytes)
        return scan(isEnd: false)
    }

    /// The text is over.
    package mutating func finish() -> [Finding] { scan(isEnd: true) }

    package static func findings(in text: String, _ detectors: [Detector]) -> [Finding] {
        var scanner = TextScanner(detectors)
        return scanner.feed(text.utf8) + scanner.finish()
    }

    private mutating func scan(isEnd: Bool) -> [Finding] {
        var findings: [Finding] = []
        var position = 0
        held.withUnsafeBufferPointer { bytes in
            scanning: while position < bytes.count {
                var length: Int?
                for index in starting[Int(bytes[position])] {
                    let detector = detectors[index]
                    if detector.notAfter.contains(before) { continue }
                    var ahead = Lookahead(UnsafeBufferPointer(rebasing: bytes[position...]))
                    let found = detector.match(&ahead)
                    if ahead.hitEnd, !isEnd { break scanning }
                    guard let found, found > 0, position + found <= bytes.count else { continue }
                    findings.append(Finding(detector.name, decided + position..<decided + position + found))
                    length = found
                    break
                }
                position += length ?? 1
                before = bytes[position - 1]
            }
        }
        decided += position
        held.removeFirst(position)
        return findings
    }
}

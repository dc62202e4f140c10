import Core

/// A regular expression of a kind that takes bounded time on any text: the number of its states times the bytes it may match.
///
/// Literals, `.`, `[a-z]`, `[^…]`, `\d \w \s \D \W \S`, `(…)`, `(?:…)`, `a|b`, `? * + {m} {m,} {m,n}`, on bytes; the longest match counts.
/// No anchors, back-references or look-around. It is run on all its states at once (Thompson's construction), never by trying again.
package struct PatternProgram: Sendable {
    /// The most bytes that a match may have.
    package static let longestMatch = 512
    static let mostStates = 2000

    indirect enum Node {
        case set(ByteSet)
        case sequence([Node])
        case choice([Node])
        case repeated(Node, Int, Int?)
    }

    private enum State {
        case set(ByteSet, next: Int)
        case split([Int])
        case match
    }

    private var states: [State] = []
    private var start = 0
    /// What a match may begin with.
    let first: ByteSet

    /// - Throws: `badRequest` that names the place.
    package init(_ pattern: String) throws {
        var parser = PatternParser(pattern)
        let root = try parser.parse()
        var builder = Builder()
        let match = try builder.add(.match)
        start = try builder.build(root, next: match)
        states = builder.states
        var set = ByteSet()
        var isEmpty = false
        for state in Self.closure([start], builder.states) {
            switch builder.states[state] {
            case .set(let bytes, _): set = set + bytes
            case .match: isEmpty = true
            case .split: break
            }
        }
        guard !isEmpty else {
            throw AppError(
                .badRequest, "The pattern '\(pattern.prefix(80))' matches nothing at all: every text would be full of it.",
                field: "pattern")
        }
        first = set
    }

    /// The length of the longest match at the beginning.
    func longest(_ ahead: inout Lookahead) -> Int? {
        var current = Self.closure([start], states)
        var found: Int?
        for position in 0...Self.longestMatch {
            if current.isEmpty { break }
            if current.contains(where: { if case .match = states[$0] { true } else { false } }) { found = position }
            if position == Self.longestMatch { break }
            let byte = ahead[position]
            let next = current.compactMap { state -> Int? in
                if case .set(let bytes, let next) = states[state], bytes.contains(byte) { next } else { nil }
            }
            current = Self.closure(next, states)
        }
        return found
    }

    /// The states that are reached without a byte, each once.
    private static func closure(_ from: [Int], _ states: [State]) -> [Int] {
        var seen = Set<Int>()
        var reached: [Int] = []
        var open = from
        while let state = open.popLast() {
            guard seen.insert(state).inserted else { continue }
            if case .split(let targets) = states[state] { open += targets } else { reached.append(state) }
        }
        return reached
    }

    private struct Builder {
        var states: [State] = []

        mutating func add(_ state: State) throws -> Int {
            guard states.count < PatternProgram.mostStates else {
                throw AppError(
                    .badRequest, "The pattern has more than \(PatternProgram.mostStates) states: use smaller repetitions.",
                    field: "pattern")
            }
            states.append(state)
            return states.count - 1
        }

        mutating func build(_ node: Node, next: Int) throws -> Int {
            switch node {
            case .set(let bytes): return try add(.set(bytes, next: next))
            case .sequence(let nodes): return try nodes.reversed().reduce(next) { try build($1, next: $0) }
            case .choice(let nodes):
                let targets = try nodes.map { try build($0, next: next) }
                return try add(.split(targets))
            case .repeated(let node, let least, let most):
                var target = next
                if let most {
                    for _ in least..<most { target = try add(.split([try build(node, next: target), next])) }
                } else {
                    let loop = try add(.split([]))
                    states[loop] = .split([try build(node, next: loop), next])
                    target = loop
                }
                for _ in 0..<least { target = try build(node, next: target) }
                return target
            }
        }
    }
}

extension Detector {
    /// A pattern that an admin wrote.
    ///
    /// - Throws: `badRequest` saying what is wrong with it.
    package static func pattern(_ name: String, _ pattern: String) throws -> Detector {
        let program = try PatternProgram(pattern)
        return Detector(
            name: "pattern.\(name)", first: program.first, notAfter: ByteSet(), longest: PatternProgram.longestMatch
        ) { ahead in program.longest(&ahead) }
    }
}

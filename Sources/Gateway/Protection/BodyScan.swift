import Core
import ModelAPI
import NIOCore
import Policies

/// What is found in a body that is there as a whole, a prompt or an answer, and what is to be done about it. A pure value.
struct BodyScan: Sendable {
    /// Ascending.
    private(set) var edits: [BodyEdit] = []
    /// Of what was refused.
    private var refused: [BodyEdit] = []
    private(set) var list = FindingList()
    /// Nil: nothing keeps the body from going on.
    private(set) var refusal: AppError?

    var findings: [ContentFinding] { list.findings }

    /// - Parameter isAnswer: the model said it; otherwise it is what the model is told.
    init(_ body: ByteBuffer, _ decisions: DataDecisions, isAnswer: Bool) {
        self.init(body, decisions, isAnswer: isAnswer, all: nil)
    }

    /// Of what a tool is called with, or gave: JSON whose fields are the tool's own.
    init(_ body: ByteBuffer, _ decisions: DataDecisions, of place: DataPlace) {
        self.init(body, decisions, isAnswer: false, all: place)
    }

    private init(_ body: ByteBuffer, _ decisions: DataDecisions, isAnswer: Bool, all: DataPlace?) {
        var scanners = Scanners(decisions)
        guard let texts = try? BodyTexts(body, isFree: all != nil) else {
            // What is no JSON is one text.
            scan(body, texts: nil, nil, all ?? (isAnswer ? .answer : .prompt), &scanners)
            return
        }
        for text in texts.texts {
            let place: DataPlace =
                switch texts.place(of: text) {
                case .said: isAnswer ? .answer : .prompt
                case .toolResult: .toolResult
                case .toolInput: .toolInput
                }
            scan(body, texts: texts, text, all ?? place, &scanners)
        }
        edits.sort { $0.range.lowerBound < $1.range.lowerBound }
    }

    /// The body without what was found to be taken out or refused.
    func withoutFindings(_ body: ByteBuffer) -> ByteBuffer {
        let all = (edits + refused).sorted { $0.range.lowerBound < $1.range.lowerBound }
        return all.isEmpty ? body : BodyEdit.apply(all: all, to: body)
    }

    private mutating func scan(
        _ body: ByteBuffer, texts: BodyTexts?, _ text: BodyTexts.Text?, _ place: DataPlace, _ scanners: inout Scanners
    ) {
        guard let scanner = scanners[place] else { return }
        let start = text?.range.lowerBound ?? 0
        let found = body.withUnsafeReadableBytes { raw in
            let bytes = text.map { UnsafeRawBufferPointer(rebasing: raw[$0.range]) } ?? raw
            return TextSearch.find(in: bytes, isEscaped: text?.isEscaped ?? false, scanner)
        }
        for (dataClass, range) in found {
            guard let action = scanners.action(place, dataClass) else { continue }
            let path = texts.flatMap { texts in text.map { texts.path(of: $0) } } ?? ""
            var kind = action.kind
            let isSigned = texts.flatMap { texts in text.map { texts.isSigned($0) } } ?? false
            if kind == .redact, isSigned { kind = action.otherwise }
            list.add(action, kind, place, path, dataClass)
            let edit = BodyEdit(
                name: "redact", range: start + range.lowerBound..<start + range.upperBound, replacement: Redaction.text(dataClass))
            switch kind {
            case .block:
                refusal = refusal ?? action.refusal(dataClass, place, path, isSigned: isSigned && action.kind == .redact)
                refused.append(edit)
            case .redact: edits.append(edit)
            case .flag: break
            }
        }
    }
}

/// A scanner for each place, made once and copied for each text.
struct Scanners: Sendable {
    let decisions: DataDecisions
    private var made: [DataPlace: TextScanner] = [:]

    init(_ decisions: DataDecisions) {
        self.decisions = decisions
        for place in DataPlace.allCases { made[place] = decisions[place].map { TextScanner($0.detectors) } }
    }

    subscript(_ place: DataPlace) -> TextScanner? { made[place] }

    func action(_ place: DataPlace, _ dataClass: String) -> DataDecisions.Action? { decisions[place]?.actions[dataClass] }
}

enum Redaction {
    /// Stands where the data stood; nothing in it has to be escaped in JSON.
    static func text(_ dataClass: String) -> String { "[redacted: \(dataClass)]" }
}

enum TextSearch {
    /// Classes and ranges in the bytes as they are written.
    static func find(
        in raw: UnsafeRawBufferPointer, isEscaped: Bool, _ scanner: TextScanner
    ) -> [(dataClass: String, range: Range<Int>)] {
        var scanner = scanner
        guard isEscaped else {
            return (scanner.feed(raw) + scanner.finish()).map { ($0.detector, $0.range) }
        }
        var map = EscapeMap()
        let text = map.feed(raw) + map.finish()
        guard holdsJSON(text) else {
            return (scanner.feed(text) + scanner.finish()).map { ($0.detector, map.raw($0.range)) }
        }
        // JSON in a JSON string: escapes in there hide what they stand for as well.
        var inner = EscapeMap()
        let plain = text.withUnsafeBytes { inner.feed($0) } + inner.finish()
        return (scanner.feed(plain) + scanner.finish()).map { ($0.detector, map.raw(inner.raw($0.range))) }
    }

    private static func holdsJSON(_ text: [UInt8]) -> Bool {
        guard let first = text.first(where: { $0 > 0x20 }), first == UInt8(ascii: "{") || first == UInt8(ascii: "[") else {
            return false
        }
        return text.contains(UInt8(ascii: "\\"))
    }
}

extension FindingList {
    mutating func add(
        _ action: DataDecisions.Action, _ kind: DataDecisions.Action.Kind, _ place: DataPlace, _ path: String, _ dataClass: String
    ) {
        let effect: ContentFinding.Effect =
            switch kind {
            case .block: .blocked
            case .redact: .redacted
            case .flag: .flagged
            }
        add(ContentFinding(place: place.rawValue, path: path, subject: dataClass, rule: action.rule, effect: effect))
        for rule in action.flags {
            add(ContentFinding(place: place.rawValue, path: path, subject: dataClass, rule: rule, effect: .flagged))
        }
    }
}

extension DataDecisions.Action {
    /// What the caller is told. It names the class and the place, never the data.
    ///
    /// - Parameter isSigned: it would be taken out, if that did not break a signature.
    func refusal(_ dataClass: String, _ place: DataPlace, _ path: String, isSigned: Bool) -> AppError {
        let what =
            switch place {
            case .prompt: "The prompt"
            case .toolResult: "A tool's result"
            case .toolInput: "A tool's input"
            case .answer: "The answer"
            }
        let location = path.isEmpty ? "" : " at \(path)"
        let signed = isSigned ? " It cannot be taken out there without breaking the provider's signature." : ""
        return AppError(
            .policyDenied, "\(what) has data of the class '\(dataClass)'\(location). \(reason)\(signed) (policy rule \(rule))")
    }
}

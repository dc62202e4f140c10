import Core
import ModelAPI
import NIOCore
import Policies

/// Looks into a streamed answer, across the borders of its events. An event goes out when nothing more can be found in it, and not
/// later; what is taken out is taken out of the bytes of its events, and all others stay as they came. A pure value.
struct AnswerGuard: Sendable {
    struct Output: Sendable {
        /// Whole events.
        var released = ByteBuffer()
        /// Nothing more may be released.
        var refusal: AppError?
        /// All so far.
        var findings: [ContentFinding] = []
    }

    /// More is not kept back: a stream that would need it is ended.
    static let mostHeld = 32 << 20

    private struct Pending: Sendable {
        var bytes: ByteBuffer
        var edits: [BodyEdit] = []
        /// How far channels must be decided before it may go.
        var waits: [(channel: String, end: Int)] = []
    }

    /// One text that comes in several events.
    private struct Channel: Sendable {
        struct Piece: Sendable {
            var event: Int
            /// In the channel's text.
            var range: Range<Int>
            /// In the bytes of the event.
            var place: Int
            var map: EscapeMap?
        }

        var place: DataPlace
        var isSigned: Bool
        var scanner: TextScanner
        /// Where the text is JSON itself.
        var inner: EscapeMap?
        var length = 0
        var decided = 0
        var pieces: [Piece] = []
    }

    private let api: ModelProtocol
    private let scanners: Scanners?
    private var tools: AnswerTools?
    private var splitter = EventSplitter()
    private var channels: [String: Channel] = [:]
    private var pending: [Pending] = []
    /// The number of the first pending event.
    private var first = 0
    private var heldBytes = 0
    private var list = FindingList()
    private var refusal: AppError?
    /// The first event that must not go out.
    private var blockedAt: Int?

    init(_ guarding: CallGuard, _ api: ModelProtocol) {
        self.api = api
        scanners = guarding.decisions.map(Scanners.init)
        tools = guarding.tools.map { AnswerTools($0, api) }
    }

    mutating func take(_ chunk: ByteBuffer) -> Output {
        do throws(AppError) {
            for event in try splitter.split(chunk) where refusal == nil { take(event) }
        } catch {
            refuse(error, at: first + pending.count)
        }
        return output()
    }

    /// The stream is over.
    ///
    /// - Parameter isWhole: what no blank line ended is an event all the same.
    mutating func finish(isWhole: Bool) -> Output {
        if let rest = splitter.rest(), isWhole, refusal == nil { take(rest) }
        close { _ in true }
        let last = first + pending.count
        if refusal == nil, let stop = tools?.finish(last) { refuse(stop.error, at: stop.event) }
        return output()
    }

    private mutating func output() -> Output {
        var output = Output(refusal: refusal, findings: list.findings + (tools?.findings ?? []))
        var count = 0
        // Of the event with what must not pass, and of those that follow it, nothing goes out.
        let limit = min(blockedAt ?? .max, tools?.heldFrom ?? .max)
        let end = limit == .max ? .max : max(0, limit - first)
        while count < min(pending.count, end), isFree(pending[count]) {
            var bytes = pending[count].bytes
            heldBytes -= bytes.readableBytes
            if !pending[count].edits.isEmpty { bytes = Self.edited(pending[count]) }
            output.released.writeImmutableBuffer(bytes)
            count += 1
        }
        pending.removeFirst(count)
        first += count
        for name in channels.keys { channels[name]?.pieces.removeAll { $0.event < first } }
        if heldBytes > Self.mostHeld, refusal == nil {
            refuse(
                AppError(.upstream, "More of the answer would have to be kept back than can be: \(Self.mostHeld) bytes."), at: first
            )
            output.refusal = refusal
        }
        return output
    }

    private func isFree(_ event: Pending) -> Bool {
        event.waits.allSatisfy { wait in (channels[wait.channel]?.decided ?? .max) >= wait.end }
    }

    private static func edited(_ event: Pending) -> ByteBuffer {
        BodyEdit.apply(all: event.edits.sorted { $0.range.lowerBound < $1.range.lowerBound }, to: event.bytes)
    }

    // MARK: Events

    private mutating func take(_ event: EventSplitter.Event) {
        let number = first + pending.count
        pending.append(Pending(bytes: event.bytes))
        heldBytes += event.bytes.readableBytes
        if let stop = tools?.take(event.bytes, number) { return refuse(stop.error, at: stop.event) }
        if let joined = event.joined { return takeJoined(joined, number) }
        guard let range = event.data,
            let data = event.bytes.getSlice(at: event.bytes.readerIndex + range.lowerBound, length: range.count)
        else { return }
        guard let texts = try? EventTexts(data, api) else {
            // `[DONE]`, or what nobody can read.
            close { _ in true }
            return takeWhole(data, at: range.lowerBound, nil, number, repeats: false)
        }
        for piece in texts.pieces where refusal == nil {
            if let name = piece.channel {
                take(piece, name, data, at: range.lowerBound, number)
            } else {
                takeWhole(data, at: range.lowerBound, piece, number, repeats: texts.repeats)
            }
        }
        if !texts.closes.isEmpty { close { name in texts.closes.contains { $0.isEmpty || name.contains($0) } } }
    }

    /// Data of several lines cannot be changed in place.
    private mutating func takeJoined(_ data: [UInt8], _ number: Int) {
        guard let scanners else { return }
        let scan = BodyScan(ByteBuffer(bytes: data), scanners.decisions, isAnswer: true)
        for finding in scan.findings { list.add(finding) }
        if let refused = scan.refusal {
            refuse(refused, at: number)
        } else if !scan.edits.isEmpty {
            refuse(
                AppError(
                    .policyDenied, "The answer has data that cannot be taken out of an event with several lines, so it ends here."),
                at: number)
        }
    }

    private mutating func refuse(_ error: AppError, at number: Int) {
        if refusal != nil { return }
        refusal = error
        blockedAt = number
    }

    private static func place(_ place: BodyTexts.Place) -> DataPlace {
        switch place {
        case .said: .answer
        case .toolResult: .toolResult
        case .toolInput: .toolInput
        }
    }

    private mutating func takeWhole(
        _ data: ByteBuffer, at offset: Int, _ piece: EventTexts.Piece?, _ number: Int, repeats: Bool
    ) {
        let place = piece.map { Self.place($0.place) } ?? .answer
        guard let scanner = scanners?[place] else { return }
        let found = data.withUnsafeReadableBytes { raw in
            let bytes = piece.map { UnsafeRawBufferPointer(rebasing: raw[$0.range]) } ?? raw
            return TextSearch.find(in: bytes, isEscaped: piece?.isEscaped ?? false, scanner)
        }
        let start = offset + (piece?.range.lowerBound ?? 0)
        for (dataClass, range) in found {
            let isNew = !repeats || !list.has(place, dataClass)
            guard
                let kind = note(
                    dataClass, place, piece?.path ?? "", isSigned: piece?.isSigned ?? false, event: number, counts: isNew),
                kind == .redact
            else { continue }
            edit(number, start + range.lowerBound..<start + range.upperBound, Redaction.text(dataClass))
        }
    }

    /// - Returns: what is to be done.
    private mutating func note(
        _ dataClass: String, _ place: DataPlace, _ path: String, isSigned: Bool, event: Int, counts: Bool = true
    ) -> DataDecisions.Action.Kind? {
        guard let action = scanners?.action(place, dataClass) else { return nil }
        let kind = action.kind == .redact && isSigned ? action.otherwise : action.kind
        if counts { list.add(action, kind, place, path, dataClass) }
        if kind == .block { refuse(action.refusal(dataClass, place, path, isSigned: action.kind == .redact), at: event) }
        return kind
    }

    private mutating func edit(_ number: Int, _ range: Range<Int>, _ text: String) {
        let index = number - first
        guard pending.indices.contains(index) else { return }
        pending[index].edits.append(BodyEdit(name: "redact", range: range, replacement: text))
    }

    // MARK: Channels

    private mutating func take(_ piece: EventTexts.Piece, _ name: String, _ data: ByteBuffer, at offset: Int, _ number: Int) {
        let place = Self.place(piece.place)
        guard var channel = channels[name] ?? open(place, piece) else { return }
        var map: EscapeMap?
        let text = data.withUnsafeReadableBytes { raw -> [UInt8] in
            let bytes = UnsafeRawBufferPointer(rebasing: raw[piece.range])
            guard piece.isEscaped else { return Array(bytes) }
            var escapes = EscapeMap()
            let text = escapes.feed(bytes) + escapes.finish()
            map = escapes
            return text
        }
        let start = channel.length
        channel.length += text.count
        channel.pieces.append(
            .init(event: number, range: start..<channel.length, place: offset + piece.range.lowerBound, map: map))
        let plain = channel.inner == nil ? text : text.withUnsafeBytes { channel.inner!.feed($0) }
        let findings = channel.scanner.feed(plain)
        channel.decided = channel.inner.map { $0.rawDecided(channel.scanner.decided) } ?? channel.scanner.decided
        pending[number - first].waits.append((name, channel.length))
        channels[name] = channel
        for finding in findings { take(finding, in: channel) }
        channels[name]?.inner?.forget(before: channel.scanner.decided)
    }

    private func open(_ place: DataPlace, _ piece: EventTexts.Piece) -> Channel? {
        // Nobody asks; or so many that none is of a model.
        guard let scanner = scanners?[place], channels.count < 10_000 else { return nil }
        return Channel(place: place, isSigned: piece.isSigned, scanner: scanner, inner: piece.isJSON ? EscapeMap() : nil)
    }

    private mutating func take(_ finding: Finding, in channel: Channel) {
        let range = channel.inner?.raw(finding.range) ?? finding.range
        let event = channel.pieces.first { $0.range.overlaps(range) }?.event ?? first
        guard let kind = note(finding.detector, channel.place, "", isSigned: channel.isSigned, event: event), kind == .redact else {
            return
        }
        var text = Redaction.text(finding.detector)
        for piece in channel.pieces where piece.range.overlaps(range) {
            let part = piece.range.clamped(to: range)
            let local = part.lowerBound - piece.range.lowerBound..<part.upperBound - piece.range.lowerBound
            let raw = piece.map?.raw(local) ?? local
            edit(piece.event, piece.place + raw.lowerBound..<piece.place + raw.upperBound, text)
            // The rest of it is only taken away.
            text = ""
        }
    }

    private mutating func close(_ ends: (String) -> Bool) {
        for name in channels.keys.sorted() where ends(name) {
            guard var channel = channels[name] else { continue }
            let rest = channel.inner?.finish() ?? []
            let findings = channel.scanner.feed(rest) + channel.scanner.finish()
            for finding in findings { take(finding, in: channel) }
            // Without a channel nothing waits for it.
            channels[name] = nil
        }
    }
}

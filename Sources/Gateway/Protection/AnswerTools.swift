import Core
import ModelAPI
import NIOCore

/// Follows the calls of tools in a streamed answer: their events are held until all of a call is known and decided. A pure value.
struct AnswerTools: Sendable {
    private let ruling: ToolRuling
    private var reader: AnswerReader
    /// Calls that are not decided, by block, with the number of the event in which they began.
    private var open: [Int: Int] = [:]
    private var decided: Set<Int> = []
    private(set) var findings: [ContentFinding] = []

    init(_ ruling: ToolRuling, _ api: ModelProtocol) {
        self.ruling = ruling
        reader = .forTools(api, streamed: true)
    }

    /// From this event on nothing may go out; nil: everything may.
    var heldFrom: Int? { open.values.min() }

    /// - Returns: why the answer ends, and before which event.
    mutating func take(_ event: ByteBuffer, _ number: Int) -> (error: AppError, event: Int)? {
        do { try reader.feed(event) } catch { return (error, number) }
        return look(number, isEnd: false)
    }

    mutating func finish(_ number: Int) -> (error: AppError, event: Int)? {
        reader.finish()
        return look(number, isEnd: true)
    }

    private mutating func look(_ number: Int, isEnd: Bool) -> (error: AppError, event: Int)? {
        // Calls before a refused one that were held with it do not go out either.
        let held = heldFrom
        for call in reader.calls(from: 0) where !decided.contains(call.block) {
            let began = open[call.block] ?? number
            open[call.block] = began
            guard call.isClosed || isEnd || reader.isComplete else { continue }
            open[call.block] = nil
            decided.insert(call.block)
            if ruling.exempt.contains(call.name) { continue }
            let decision = ruling.decide(tool: call.name, arguments: reader.input(of: call.block))
            findings += decision.findings(tool: call.name)
            if let refusal = decision.toolRefusal(call.name) { return (refusal, min(began, held ?? began)) }
        }
        return nil
    }

    /// The same for an answer that came as a whole.
    static func decide(_ whole: ByteBuffer, _ api: ModelProtocol, _ ruling: ToolRuling) -> (
        findings: [ContentFinding], refusal: AppError?
    ) {
        var tools = AnswerTools(ruling, api)
        tools.reader = .forTools(api, streamed: false)
        if let stop = tools.take(whole, 0) ?? tools.finish(0) { return (tools.findings, stop.error) }
        return (tools.findings, nil)
    }
}

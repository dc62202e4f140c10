import ModelAPI
import Testing

@testable import AgentLoop

@Suite struct TranscriptTests {
    /// One question, then answers with one call each, whose outputs have these sizes.
    private func transcript(_ sizes: [Int]) -> Transcript {
        var transcript = Transcript(entries: [.init(position: 1, kind: .user, content: [.text("Go.")])])
        for (index, size) in sizes.enumerated() {
            let block = AnswerBlock.toolUse(id: "c\(index)", name: "execute", inputJSON: "{}", isComplete: true)
            transcript.append(.init(position: index + 2, kind: .answer, step: index + 1, content: [.answer(block)]))
            transcript.append(
                .init(number: index + 1, modelID: "c\(index)", text: String(repeating: "x", count: size), isError: false),
                step: index + 1)
        }
        return transcript
    }

    private func outputs(_ transcript: Transcript) -> [Int] {
        transcript.messages.flatMap(\.content).compactMap {
            if case .toolResult(_, let text, _) = $0 { text.hasPrefix("x") ? text.utf8.count : 0 } else { nil }
        }
    }

    @Test func `results come before what was said since, in one message`() {
        var transcript = transcript([5])
        transcript.append(.init(position: 3, kind: .remark, content: [.text("Careful.")]))
        transcript.append(.init(position: 4, kind: .user, content: [.text("More.")]))
        let last = transcript.messages.last
        #expect(last?.content == [.toolResult(id: "c0", text: "xxxxx", isError: false), .text("Careful."), .text("More.")])
        #expect(transcript.messages.count == 3)
    }

    @Test func `pruning keeps the newest outputs and says what it left out`() {
        var transcript = transcript([30_000, 30_000, 30_000, 100, 20_000])
        #expect(transcript.prune() == 2 * 29_800)
        #expect(outputs(transcript) == [0, 0, 30_000, 100, 20_000])
        #expect(transcript.messages.map(\.role).count == 11)
    }

    @Test func `pruning again goes further, and ends`() {
        var transcript = transcript([30_000, 30_000, 30_000, 20_000])
        var rounds = 0
        while transcript.prune() > 0 { rounds += 1 }
        #expect((1...3).contains(rounds))
        #expect(outputs(transcript).reduce(0, +) <= 20_000)
        #expect(transcript.prune() == 0)
    }

    @Test func `short outputs are never pruned`() {
        var transcript = transcript(Array(repeating: 150, count: 100))
        #expect(transcript.prune() == 0)
    }
}

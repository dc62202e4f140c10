import Core

extension AnswerReader {
    /// The protocol's numbers of blocks that were begun and not ended.
    var openBlocks: [Int] { builders.filter { !$0.isClosed }.map(\.index) }

    /// Chat Completions and Gemini: answers without a finish reason.
    var openChoices: [Int] { (choices.isEmpty ? [0] : choices).subtracting(finishedChoices).sorted() }

    /// Output tokens so far: what the provider reported, or a quarter of the bytes that came, whichever is more.
    package var estimatedOutput: TokenCount {
        usageIsFinal ? usage?.output ?? 0 : max(usage?.output ?? 0, (generatedBytes + 3) / 4)
    }

    /// Whether an answer that goes on has used up what it may have. One that ends exactly there, by the provider's count, is whole.
    package func isBeyond(_ limit: TokenCount) -> Bool {
        if isComplete { return false }
        return usageIsFinal ? estimatedOutput > limit : estimatedOutput >= limit
    }

    /// The usage to book for an answer that did not reach its end: what was reported, with output estimated; input as reported or,
    /// without a report, a quarter of the request's bytes.
    package func estimatedUsage(requestBytes: Int) -> Usage {
        if usageIsFinal, let usage { return usage }
        var estimate = usage ?? Usage(input: (requestBytes + 3) / 4)
        if estimate.totalInput == 0 { estimate.input = (requestBytes + 3) / 4 }
        estimate.output = estimatedOutput
        return estimate
    }
}

import Core
import ModelAPI
import NIOCore
import Policies

/// Answers of calls that rules look into.
extension CallRecord {
    /// An answer that came as a whole, without what rules take out of it.
    ///
    /// - Throws: `policyDenied` for one that must not pass; what it used is read all the same.
    func guarded(_ whole: ByteBuffer) throws(AppError) -> ByteBuffer {
        guard let decisions = facts.guarding?.decisions else { return whole }
        let scan = BodyScan(whole, decisions, isAnswer: true)
        state.withLockedValue { state in
            state.findings = scan.findings
            if scan.refusal == nil { return }
            // For the usage alone: nothing of what it says is recorded.
            state.own = AnswerReader(state.target.api, streamed: false, keepsContent: false)
            try? state.own.feed(state.target.format?.readable(whole) ?? whole)
        }
        if let refusal = scan.refusal { throw refusal }
        return scan.edits.isEmpty ? whole : BodyEdit.apply(all: scan.edits, to: whole)
    }

    /// Decides about the tools that a whole answer calls.
    ///
    /// - Parameters:
    ///   - whole: in the client's protocol.
    ///   - said: in the upstream's: what it used is read there.
    /// - Throws: `policyDenied`.
    func decide(_ whole: ByteBuffer, _ ruling: ToolRuling, from said: ByteBuffer) throws(AppError) {
        let (found, refusal) = AnswerTools.decide(whole, facts.api, ruling)
        state.withLockedValue { $0.findings += found }
        guard let refusal else { return }
        state.withLockedValue { try? $0.own.feed($0.target.format?.readable(said) ?? said) }
        throw refusal
    }
}

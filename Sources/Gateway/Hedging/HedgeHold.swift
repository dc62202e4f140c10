import Core
import ModelAPI

/// What is on record of a call's second attempt while both are under way: an interception of its own that names the call, with a hold of
/// its own. Whichever of the two loses is booked for it, so that the call's own row is always that of the answer which was handed out.
final class HedgeHold: Sendable {
    enum Outcome: Sendable, Equatable {
        case neverSent
        /// It was ended when the other one answered, or when the client left. With its status, if its head had come.
        case ended(why: String, status: Int?)
        case failed(String, status: Int?)
    }

    let interception: NewInterception
    let grant: HoldLoop.Grant
    /// Where the second attempt goes.
    let target: Target

    init(interception: NewInterception, grant: HoldLoop.Grant, target: Target) {
        self.interception = interception
        self.grant = grant
        self.target = target
    }

    /// - Parameter target: where the losing attempt went.
    func settlement(_ outcome: Outcome, _ target: Target, _ facts: CallRecord.Facts) -> Settlement {
        var verdict: Verdict
        let reader = AnswerReader(target.api, streamed: facts.summary.stream)
        let requestBytes = facts.call.body.readableBytes
        switch outcome {
        case .neverSent:
            verdict = Self.failed("never sent: the first attempt had ended meanwhile", nil, reader, requestBytes)
            verdict.state = .final
        case .failed(let why, let status): verdict = Self.failed(why, status, reader, requestBytes)
        case .ended(let why, let status):
            verdict = Verdict(.clientLeft, httpStatus: status, reader: reader, requestBytes: requestBytes)
            verdict.ending.status = .cut
            verdict.ending.error = why.storable(upTo: 2000)
        }
        verdict.usage.serviceTier = .applied(requested: facts.summary.serviceTier, reported: nil)
        return Settlement(
            interception: interception.id, organization: interception.organization, user: interception.initiator,
            budgets: grant.budgets, counters: grant.counters, hold: grant.amount, provider: target.provider.name,
            model: target.model.storable, price: target.price.id, state: verdict.state, usage: verdict.usage,
            cost: target.price.cost(of: verdict.usage), answerHash: Content.emptyHash, answerSize: 0,
            toolsHash: Content.emptyHash, ending: verdict.ending)
    }

    private static func failed(_ why: String, _ status: Int?, _ reader: AnswerReader, _ requestBytes: Int) -> Verdict {
        Verdict(
            .upstreamFailed(AppError(.upstream, why, source: .upstream)), httpStatus: status, reader: reader,
            requestBytes: requestBytes)
    }
}

extension NewInterception {
    /// A second attempt at a call, which goes to this target first. Its content is the call's.
    func hedge(of call: InterceptionID, at target: Target, _ grant: HoldLoop.Grant) -> NewInterception {
        var hedge = self
        hedge.id = InterceptionID()
        hedge.hedgeOf = call
        hedge.findings = []
        hedge.name(target.provider)
        hedge.price = target.price.id
        hedge.policy = target.rule
        // In the thread of its call, and so in its session.
        hedge.thread = .init(parent: grant.threadParent ?? call.uuid, root: grant.threadRoot ?? call.uuid)
        hedge.keep(.hashed)
        return hedge
    }
}

extension CallRecord {
    /// A second attempt is about to be sent. From here on whoever takes the hold back books it.
    ///
    /// - Returns: false when the call has ended meanwhile: then it must not be sent.
    func begin(beside hold: HedgeHold) -> Bool {
        state.withLockedValue { state in
            if state.hasEnded { return false }
            state.beside = hold
            return true
        }
    }

    /// Nil: it is booked already, with the call that a shutdown has cut.
    ///
    /// - Parameter second: the call is the second attempt's from here on. In one step, or the call could be booked for the wrong one of two.
    func takeBeside(goingOnWith second: (target: Target, attempt: Int)? = nil) -> HedgeHold? {
        state.withLockedValue { state in
            guard let beside = state.beside else { return nil }
            state.beside = nil
            if let second { state.begin(second.target, attempt: second.attempt, isStream: facts.summary.stream) }
            return beside
        }
    }
}

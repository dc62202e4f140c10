import Core
import ModelAPI
import NIOCore

/// Streams that rules look into: whole events go out, as soon as the rules have nothing more to say about them.
extension Relay {
    /// Nil: nothing to hand out yet.
    func passGuarded(_ chunk: ByteBuffer) throws -> ByteBuffer? {
        let isBeyond = try record.state.withLockedValue { record in
            try record.own.feed(chunk)
            record.noteContent(since: began)
            return outputLimit.map { record.own.estimatedOutput >= $0 && !record.own.isComplete } ?? false
        }
        state.withLockedValue { $0.lastByte = .now }
        let (released, refusal) = guarded { $0.take(chunk) }
        var output = state.withLockedValue { $0.filter?.filter(released) } ?? released
        if let refusal {
            if let tail = block(refusal) { output.writeImmutableBuffer(tail) }
        } else if isBeyond {
            upstream.cancel()
            let reason = "the hold of \(record.facts.grant.amount) is used up: the budget does not cover a longer answer"
            if let tail = end(.cut(reason)) { output.writeImmutableBuffer(tail) }
        }
        return output.readableBytes > 0 ? output : nil
    }

    /// What a rule does not let pass ends the stream.
    func block(_ refusal: AppError) -> ByteBuffer? {
        upstream.cancel()
        return end(.blocked(refusal))
    }

    /// Runs the guard, and puts on record what it releases and finds.
    func guarded(_ step: (inout AnswerGuard) -> AnswerGuard.Output) -> (released: ByteBuffer, refusal: AppError?) {
        let output = state.withLockedValue { state -> AnswerGuard.Output? in
            guard state.guarding != nil else { return nil }
            return step(&state.guarding!)
        }
        guard let output else { return (ByteBuffer(), nil) }
        record.state.withLockedValue { record in
            record.recorder.append(output.released)
            try? record.shown?.feed(output.released)
            record.findings = output.findings
        }
        return (output.released, output.refusal)
    }

    /// The end of a stream that passes as it is. What is held is let go or taken out first.
    func endPassedGuarded(_ cause: EndCause) -> ByteBuffer? {
        var cause = cause
        var isWhole = false
        if case .ended = cause {
            isWhole = record.state.withLockedValue { record in
                record.own.finish()
                return record.own.isComplete
            }
        }
        var tail = ByteBuffer()
        if !cause.isBlocked {
            let (released, refusal) = guarded { $0.finish(isWhole: isWhole) }
            tail = state.withLockedValue { $0.filter?.filter(released) } ?? released
            if let refusal { cause = .blocked(refusal) }
        }
        let rest = state.withLockedValue { state -> ByteBuffer? in
            state.isOver = true
            return state.filter?.finish()
        }
        if var rest { tail.writeBuffer(&rest) }
        let (reader, hadError) = record.state.withLockedValue { record in
            // What the client got is what has to be ended.
            let hadError = record.shown?.error != nil
            if case .ended = cause { record.shown?.finish() }
            return (record.shown ?? record.own, hadError)
        }
        let closing = hadError ? ByteBuffer() : closing(cause, reader, record.facts)
        record.state.withLockedValue { $0.recorder.append(closing) }
        tail.writeImmutableBuffer(closing)
        return finished(cause, tail)
    }

    /// The end of a translated stream.
    ///
    /// - Parameter tail: what the translator ends with.
    func endGuarded(_ tail: ByteBuffer, _ cause: EndCause) -> (tail: ByteBuffer, refusal: AppError?) {
        if case .blocked(let error) = cause { return (refused(error), nil) }
        var (last, refusal) = guarded { $0.take(tail) }
        if refusal == nil {
            let (rest, refused) = guarded { $0.finish(isWhole: true) }
            last.writeImmutableBuffer(rest)
            refusal = refused
        }
        if let refusal { last.writeImmutableBuffer(refused(refusal)) }
        return (last, refusal)
    }

    /// The error that ends a stream: the translator may have ended it in its own way already, of which nothing was released.
    private func refused(_ refusal: AppError) -> ByteBuffer {
        let facts = record.facts
        let error = ErrorShape.streamError(facts.api, status: 403, message: refusal.message, requestID: facts.call.requestID)
        record.state.withLockedValue { $0.recorder.append(error) }
        return error
    }

    func finished(_ cause: EndCause, _ tail: ByteBuffer) -> ByteBuffer? {
        finish(cause)
        return tail.readableBytes > 0 ? tail : nil
    }
}

extension EndCause {
    fileprivate var isBlocked: Bool { if case .blocked = self { true } else { false } }
}

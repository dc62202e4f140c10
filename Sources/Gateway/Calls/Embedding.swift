import Core
import ModelAPI
import NIOCore

/// Calls for embeddings: held, booked and recorded as any call. Their input alone costs, there is nothing to stream, and nothing is
/// translated: a vector of one model means nothing to another.
extension EmbeddingSummary.Format {
    /// Whose words the client knows, and what policies take it for.
    var api: ModelProtocol { self == .openAI ? .chatCompletions : .gemini }

    /// What stands as the protocol on record.
    static let recorded = "embeddings"

    /// The longest answer: 2,048 vectors of 3,072 numbers in base64.
    static let longestAnswer = 64 << 20
}

extension GatewayCall {
    /// What policies take the call for, and what is on record of its protocol.
    func protocolName(_ api: ModelProtocol) -> String { embedding == nil ? api.rawValue : EmbeddingSummary.Format.recorded }
}

extension RequestSummary {
    /// - Throws: `badRequest` that names the field.
    static func read(_ call: GatewayCall, as api: ModelProtocol) throws(AppError) -> RequestSummary {
        guard let format = call.embedding else { return try read(call.body, as: api, path: call.route) }
        return RequestSummary(try EmbeddingSummary.read(call.body, as: format, path: call.route))
    }
}

extension RoutePlan {
    /// Only targets that have the client's own kind of embeddings.
    ///
    /// - Throws: `notFound` when there is none.
    func embedding(
        _ format: EmbeddingSummary.Format, _ call: GatewayCall, _ summary: RequestSummary
    ) throws(AppError) -> RoutePlan {
        var plan = self
        plan.targets = targets.filter { target in
            // Gemini's batches name the model in every part, so another one cannot be put in its place.
            target.format == nil && target.provider.type != .bedrock && (format == .openAI || target.model == summary.model)
        }
        if plan.targets.isEmpty {
            let who = format == .openAI ? "openai and azure serve it" : "gemini serves it, for a model under its own name"
            throw AppError(
                .notFound,
                "POST \(call.route.prefix(200)) is not served for \(targets[0].name): of the types of providers \(who). Vectors are not translated.",
                field: "model")
        }
        return plan
    }
}

extension Verdict {
    /// Of a whole answer with vectors.
    init(_ embedding: EmbeddingUsage, httpStatus: Int?, hasLeft: Bool, requestBytes: Int) {
        ending = Settlement.Ending(status: hasLeft ? .clientLeft : .completed, httpStatus: httpStatus)
        if let error = embedding.error {
            ending.status = .failed
            ending.error = "\(error.type): \(error.message)".storable(upTo: 2000)
        }
        if let reported = embedding.usage {
            (state, usage) = (hasLeft ? .drained : .final, reported)
        } else {
            // Older versions of Gemini report none; four bytes to a token, as everywhere.
            (state, usage) = (.estimated, Usage(input: (requestBytes + 3) / 4))
        }
    }
}

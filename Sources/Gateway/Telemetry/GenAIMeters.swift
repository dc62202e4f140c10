import Core
import ModelAPI
import NIOConcurrencyHelpers

/// OpenTelemetry's metrics of generative AI with the names that they have in Prometheus. One look-up per call, for all of them.
final class GenAIMeters: Sendable {
    struct Key: Hashable, Sendable {
        var operation: String
        var provider: String
        /// The price's name of it: only priced models become series.
        var model: String
        /// Empty where users are not asked for.
        var user: String
    }

    private struct Series {
        var durations: [String: Buckets] = [:]
        var firstChunk = Buckets(GenAIMeters.seconds)
        var input = Buckets(GenAIMeters.tokens)
        var output = Buckets(GenAIMeters.tokens)
    }

    /// The boundaries that the conventions name.
    static let seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
    static let tokens = [1.0, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864]
    /// With labels of users there could be any number.
    static let mostSeries = 10_000

    private let namesUsers: Bool
    private let series = NIOLockedValueBox<[Key: Series]>([:])

    init(_ metrics: Metrics, namesUsers: Bool) {
        self.namesUsers = namesUsers
        metrics.add("gen_ai_client") { self.text() }
    }

    func ended(
        _ facts: CallRecord.Facts, _ target: Target, _ settlement: Settlement, _ usage: Usage, firstChunk: Duration?
    ) {
        let key = Key(
            operation: facts.api.operationName, provider: target.provider.type.conventionalName, model: target.price.model,
            user: namesUsers ? facts.call.principal.username : "")
        let error = settlement.ending.errorType ?? ""
        let duration = facts.began.duration(to: .now) / .seconds(1)
        series.withLockedValue { all in
            guard let index = all.index(forKey: key) ?? (all.count < Self.mostSeries ? Self.insert(key, &all) : nil) else { return }
            all.values[index].durations[error, default: Buckets(Self.seconds)].record(duration)
            if let firstChunk { all.values[index].firstChunk.record(firstChunk / .seconds(1)) }
            if usage.allInput > 0 { all.values[index].input.record(Double(usage.allInput)) }
            if usage.output > 0 { all.values[index].output.record(Double(usage.output)) }
        }
    }

    private static func insert(_ key: Key, _ all: inout [Key: Series]) -> Dictionary<Key, Series>.Index? {
        all[key] = Series()
        return all.index(forKey: key)
    }

    // MARK: Text

    private func text() -> String {
        let all = series.withLockedValue { $0 }.map { (labels: labels($0.key), series: $0.value) }
            .sorted { $0.labels.map(\.1).lexicographicallyPrecedes($1.labels.map(\.1)) }
        var text = PrometheusText.head("gen_ai_client_operation_duration_seconds", "From a model call's admission to its end.")
        for (labels, series) in all {
            for (error, buckets) in series.durations.sorted(by: { $0.key < $1.key }) {
                text += buckets.text(
                    "gen_ai_client_operation_duration_seconds", error.isEmpty ? labels : labels + [("error_type", error)])
            }
        }
        text += PrometheusText.head(
            "gen_ai_client_operation_time_to_first_chunk_seconds", "From a streamed model call's admission to its first piece.")
        for (labels, series) in all where series.firstChunk.count > 0 {
            text += series.firstChunk.text("gen_ai_client_operation_time_to_first_chunk_seconds", labels)
        }
        text += PrometheusText.head("gen_ai_client_token_usage", "Tokens of a model call, as booked.")
        for (labels, series) in all {
            for (type, buckets) in [("input", series.input), ("output", series.output)] where buckets.count > 0 {
                text += buckets.text("gen_ai_client_token_usage", labels + [("gen_ai_token_type", type)])
            }
        }
        return text
    }

    private func labels(_ key: Key) -> [(String, String)] {
        var labels = [
            ("gen_ai_operation_name", key.operation), ("gen_ai_provider_name", key.provider), ("gen_ai_request_model", key.model),
        ]
        if namesUsers { labels.append(("user_name", key.user)) }
        return labels
    }
}

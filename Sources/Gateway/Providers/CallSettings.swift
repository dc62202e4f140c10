import Core
import Foundation
import HTTPTransport
import ModelAPI

/// How long a provider's calls may take, and what becomes of those whose client leaves. Each field may be absent: then the server's own
/// applies; for single models in `models`.
package struct CallSettings: Sendable, Equatable, Codable {
    /// Seconds until the answer's head, 1 to 3600.
    package var firstByteSeconds: Int?
    /// Seconds between two pieces of an answer, 1 to 3600. Models that think in silence need a long one.
    package var idleSeconds: Int?
    /// Seconds for the whole call, 1 to 86,400.
    package var totalSeconds: Int?
    /// After so many seconds of silence the client of a stream gets a ping; 0: never. Default 15.
    package var pingSeconds: Int?
    /// For so many seconds an answer is read on when its client has left, so that its usage is known; 0, the default: it is aborted.
    package var drainSeconds: Int?
    /// Of what the type speaks, that which this provider speaks: many servers that imitate OpenAI's have no Responses. For the
    /// whole provider only.
    package var protocols: [ModelProtocol]?
    /// Bedrock: the region that requests are signed for, where the base URL does not name it.
    package var region: String?
    /// Whether it is told in which trace it is called (`traceparent`, `tracestate`). For the whole provider only.
    package var traceContext: Bool?
    /// By a pattern of model names, in which * stands for any run of characters; the longest that fits counts.
    package var models: [String: CallSettings]?

    package init(
        firstByteSeconds: Int? = nil, idleSeconds: Int? = nil, totalSeconds: Int? = nil, pingSeconds: Int? = nil,
        drainSeconds: Int? = nil, protocols: [ModelProtocol]? = nil, region: String? = nil, traceContext: Bool? = nil,
        models: [String: CallSettings]? = nil
    ) {
        self.firstByteSeconds = firstByteSeconds
        self.idleSeconds = idleSeconds
        self.totalSeconds = totalSeconds
        self.pingSeconds = pingSeconds
        self.drainSeconds = drainSeconds
        self.protocols = protocols
        self.region = region
        self.traceContext = traceContext
        self.models = models
    }

    static let usualPing = 15

    /// What counts for one model.
    func of(_ model: String) -> CallSettings {
        guard let models else { return self }
        var merged = self
        merged.models = nil
        let fitting = models.filter { ToolPattern.matches($0.key, model) }
        guard let best = fitting.max(by: { ($0.key.utf8.count, $0.key) < ($1.key.utf8.count, $1.key) })?.value else {
            return merged
        }
        merged.firstByteSeconds = best.firstByteSeconds ?? firstByteSeconds
        merged.idleSeconds = best.idleSeconds ?? idleSeconds
        merged.totalSeconds = best.totalSeconds ?? totalSeconds
        merged.pingSeconds = best.pingSeconds ?? pingSeconds
        merged.drainSeconds = best.drainSeconds ?? drainSeconds
        return merged
    }

    func timeouts(_ usual: HTTPClientRequest.Timeouts) -> HTTPClientRequest.Timeouts {
        var timeouts = usual
        if let firstByteSeconds { timeouts.firstByte = .seconds(firstByteSeconds) }
        if let idleSeconds { timeouts.idle = .seconds(idleSeconds) }
        if let totalSeconds { timeouts.total = .seconds(totalSeconds) }
        return timeouts
    }

    /// For the record.
    var text: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// - Throws: `badRequest` that names the field.
    func check(_ place: String = "settings") throws {
        for (name, value, range) in [
            ("first_byte_seconds", firstByteSeconds, 1...3600), ("idle_seconds", idleSeconds, 1...3600),
            ("total_seconds", totalSeconds, 1...86_400), ("ping_seconds", pingSeconds, 0...3600),
            ("drain_seconds", drainSeconds, 0...3600),
        ] {
            if let value, !range.contains(value) {
                throw AppError(
                    .badRequest, "\(place).\(name) is \(value); it must be \(range.lowerBound) to \(range.upperBound).",
                    field: "\(place).\(name)")
            }
        }
        if let region, region.wholeMatch(of: /[a-z0-9-]{1,32}/) == nil {
            throw AppError(
                .badRequest, "\(place).region is '\(region.prefix(40))'; expected one such as eu-central-1.",
                field: "\(place).region")
        }
        if let protocols, protocols.isEmpty {
            throw AppError(
                .badRequest, "\(place).protocols is empty; leave it out to speak all that the type has.",
                field: "\(place).protocols")
        }
        guard (models?.count ?? 0) <= 50 else {
            throw AppError(.badRequest, "\(place).models has \(models?.count ?? 0) patterns; at most 50.", field: "\(place).models")
        }
        for (pattern, settings) in models ?? [:] {
            guard settings.models == nil, settings.protocols == nil, settings.region == nil, settings.traceContext == nil,
                (1...256).contains(pattern.utf8.count)
            else {
                throw AppError(
                    .badRequest,
                    "\(place).models has the pattern '\(pattern.prefix(64))'; patterns have 1 to 256 bytes and no models of their own.",
                    field: "\(place).models")
            }
            try settings.check("\(place).models.\(pattern)")
        }
    }
}

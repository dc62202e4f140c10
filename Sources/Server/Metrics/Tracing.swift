import Core
import Foundation
import HTTPTransport
import Logging
import NIOCore
import Telemetry

/// What exports this server's traces.
struct Tracing: Sendable {
    let tracer: Tracer
    let exporter: SpanExporter

    /// Less than the phase in which it happens may take.
    static let closingTime = Duration.milliseconds(800)

    /// - Returns: nil where no collector is configured.
    init?(_ configuration: Configuration, replica: ReplicaID, transport: HTTPTransport, metrics: Metrics, logger: Logger) throws {
        let settings = configuration.telemetry
        guard let endpoint = settings.endpoint else { return nil }
        let queue = SpanQueue(metrics: metrics)
        tracer = Tracer(queue, sampling: Sampler(ratio: settings.sampling), namesUsers: settings.namesUsers)
        var resource = [
            "service.name": "slipway", "service.version": SlipwayVersion.current, "service.instance.id": replica.description,
        ]
        resource.merge(settings.resource) { $1 }
        let collector = Collector(
            url: endpoint, headers: try Self.headers(settings), caFile: settings.caFile, transport: transport)
        exporter = SpanExporter(
            queue, resource: resource.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, version: SlipwayVersion.current,
            logger: logger
        ) { try await collector.send($0) }
    }

    /// - Throws: `badRequest` for a file that cannot be read or has something else in it.
    static func headers(_ settings: TelemetryConfiguration) throws -> Secret<[(name: String, value: String)]> {
        var headers = settings.headers.flatMap { TelemetryConfiguration.pairs($0.reveal()) } ?? []
        if let file = settings.headersFile {
            guard let text = try? String(contentsOfFile: file, encoding: .utf8), let pairs = TelemetryConfiguration.pairs(text)
            else {
                throw AppError(
                    .badRequest, "The file \(file) of --otlp-headers-file cannot be read, or a line of it is not NAME=VALUE.",
                    field: "otlp-headers-file")
            }
            headers += pairs
        }
        return Secret(headers)
    }
}

/// The other end of OTLP over HTTP.
private struct Collector: Sendable {
    let url: String
    let headers: Secret<[(name: String, value: String)]>
    let caFile: String?
    let transport: HTTPTransport

    func send(_ json: [UInt8]) async throws -> SpanExporter.Answer {
        var request = HTTPClientRequest(
            method: "POST", url: url, headers: [(name: "content-type", value: "application/json")] + headers.reveal(),
            body: ByteBuffer(bytes: json),
            timeouts: .init(connect: .seconds(5), firstByte: .seconds(10), idle: .seconds(5), total: .seconds(20)),
            allowPrivateAddresses: true, caFile: caFile)
        request.mayBeSentAgain = true  // a span has its own id
        let response = try await transport.send(request)
        let body = try await response.body.collect(upTo: 1 << 16)
        return SpanExporter.Answer(
            status: response.status, retryAfter: response.header("retry-after").flatMap { Int($0) },
            body: Data(buffer: body))
    }
}

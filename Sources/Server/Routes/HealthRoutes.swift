import API
import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// `/healthz`, `/readyz`, `/metrics` and what this server is.
struct HealthRoutes: Sendable {
    let readiness: Readiness
    let metrics: Metrics

    func register(on table: RouteTable) {
        table.open(.get, "/healthz", .readHealth) { _ in .text("ok\n") }
        table.open(.get, "/readyz", .readHealth) { _ in
            switch readiness.problem {
            case nil: .text("ready\n")
            case let problem?: .text("not ready: \(problem)\n", status: .serviceUnavailable)
            }
        }
        table.open(.get, "/metrics", .readMetrics) { _ in .text(metrics.text()) }
        table.open(.get, APIPaths.buildInfo, .readHealth) { _ in try .json(BuildInfo(version: SlipwayVersion.current)) }
    }
}

extension Response {
    static func text(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-store"],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }
}

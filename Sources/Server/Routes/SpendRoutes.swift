import API
import Core
import Gateway
import HTTPTypes
import Hummingbird
import NIOCore

/// `/api/v2/ai-gateway/spend`: `by=user,model,day`, `from`, `to` (days, UTC), `user` (`me`, `all`, a name
/// or an id), `format=csv` or `focus`.
struct SpendRoutes: Sendable {
    let desk: SpendDesk

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.spend, .readInterceptions, spend)
    }

    @Sendable func spend(_ call: Call) async throws -> Response {
        let incoming = call.incoming
        let query = try SpendQuery(incoming)
        let user = incoming.query("user")
        switch incoming.query("format") ?? "json" {
        case "json": return try .json(try await desk.report(call.principal, query, user: user))
        case "csv": return .csv(try await desk.csv(call.principal, query, user: user))
        case "focus": return .csv(try await desk.focus(call.principal, query, user: user))
        case let format:
            throw AppError(
                .badRequest, "format is '\(format.prefix(32))'; it can be 'json', 'csv' or 'focus'.", field: "format")
        }
    }
}

extension SpendQuery {
    fileprivate init(_ incoming: Incoming) throws {
        self.init()
        if let text = incoming.query("by") {
            by = try text.split(separator: ",").map { word in
                guard let dimension = SpendDimension(rawValue: String(word)) else {
                    let known = SpendDimension.allCases.map(\.rawValue).joined(separator: ", ")
                    throw AppError(.badRequest, "by has '\(word.prefix(32))'; it can have \(known).", field: "by")
                }
                return dimension
            }
            guard Set(by).count == by.count else { throw AppError(.badRequest, "by names something twice.", field: "by") }
        }
        from = incoming.query("from")
        to = incoming.query("to")
        limit = try incoming.queryInt("limit") ?? (incoming.query("format") == nil ? 1000 : 100_000)
        guard (1...100_000).contains(limit) else {
            throw AppError(.badRequest, "limit is \(limit); it must be from 1 to 100000.", field: "limit")
        }
    }
}

extension Response {
    static func csv(_ text: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/csv; charset=utf-8"], body: .init(byteBuffer: ByteBuffer(string: text)))
    }
}

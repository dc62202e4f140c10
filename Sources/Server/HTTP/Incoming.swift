import API
import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// What a request brings with it besides who sends it: decoding, parameters, addresses.
package struct Incoming: Sendable {
    package static let maxJSONBytes = 1 << 20

    package let request: Request
    package let context: SlipwayContext

    package var requestID: String { context.requestID }
    package var clientAddress: String? { context.clientAddress }
    package func header(_ name: HTTPField.Name) -> String? { request.headers[name] }

    /// - Throws: `badRequest` that names the field, `tooLarge`.
    package func json<Value: Decodable>(_ type: Value.Type = Value.self) async throws -> Value {
        try Self.decode(type, try await collect(upTo: Self.maxJSONBytes))
    }

    package static func decode<Value: Decodable>(_ type: Value.Type, _ body: ByteBuffer) throws -> Value {
        let data = Data(buffer: body)
        try Unstorable.check(json: data)
        do {
            return try APICoding.decoder().decode(type, from: data)
        } catch let error as DecodingError {
            throw AppError(error, in: data)
        }
    }

    package func collect(upTo limit: Int) async throws -> ByteBuffer {
        do {
            return try await request.body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw AppError(.tooLarge, "The request's body is larger than \(limit) bytes.")
        }
    }

    /// A part of the path, percent-decoded.
    package func path(_ name: String) throws -> String {
        guard let value = context.parameters.get(name) else {
            throw AppError(.internal, "The route has no parameter '\(name)'.")
        }
        guard let decoded = value.removingPercentEncoding, Unstorable.isFree(decoded) else {
            throw AppError(.badRequest, "The path has something in it that is no text, where '\(name)' should be.", field: name)
        }
        return decoded
    }

    package func id<Noun>(_ name: String, of type: ID<Noun>.Type = ID<Noun>.self) throws -> ID<Noun> {
        let text = try path(name)
        guard let id = ID<Noun>(text) else { throw AppError(.badRequest, "'\(text)' is no id: a UUID is expected.", field: name) }
        return id
    }

    package func query(_ name: String) -> String? {
        request.uri.queryParameters[Substring(name)].map(String.init).flatMap { $0.isEmpty ? nil : $0 }
    }

    package func queryInt(_ name: String) throws -> Int? {
        try query(name).map { text in
            guard let number = Int(text) else { throw AppError(.badRequest, "'\(text)' is no number.", field: name) }
            return number
        }
    }

    package func queryDate(_ name: String) throws -> Date? {
        try query(name).map { text in
            guard let date = APICoding.date(from: text) else {
                throw AppError(.badRequest, "'\(text)' is no RFC 3339 time such as 2026-11-21T12:00:00Z.", field: name)
            }
            return date
        }
    }

    /// `limit` and `after` (also `after_id`, as Coder's lists call it).
    package func page() throws -> PageRequest {
        try PageRequest(limit: try queryInt("limit"), after: query("after") ?? query("after_id"))
    }
}

/// A request of somebody who may make it.
package struct Call: Sendable {
    package let incoming: Incoming
    package let principal: Principal
    /// How far the permission of this route's action reaches.
    package let reach: Reach
}

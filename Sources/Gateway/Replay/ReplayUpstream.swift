import Core
import Crypto
import Foundation
import HTTPTransport
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import Postgres

/// An upstream without a network: answers requests with what was recorded for the same ones, in its time.
///
/// A recorded call is found by the hash of its request; then among those of nearly the same size, since Chat Completions streams are
/// sent with a field more than their clients wrote; then, where the address names a session, by its order. Else the answer is a 404 in
/// the provider's words that names the nearest recorded request.
final class ReplayUpstream: Sendable {
    private let store: ReplayStore
    /// How many answers of a session were given, by address.
    private let positions = NIOLockedValueBox<[String: Int]>([:])

    init(pool: PostgresPool, contents: ContentStore) { store = ReplayStore(pool: pool, contents: contents) }

    func answer(_ request: HTTPClientRequest) async throws -> LocalAnswer {
        let address = try ReplayAddress(request.url)
        guard let organization = address.organization else {
            throw AppError(.badRequest, "The replay provider's base URL names no organization; set it again.", field: "base_url")
        }
        let body = request.body ?? ByteBuffer()
        let api = Self.api(address.route)
        let isEmbedding = address.route.contains("mbed")
        var found = try await store.same(
            organization, address, body, api, named: isEmbedding ? EmbeddingSummary.Format.recorded : api.rawValue)
        if found == nil { found = try await inOrder(organization, address) }
        if let found {
            guard let answer = try await store.answer(organization, found.id) else {
                return Self.miss(api, "The answer of the recorded call \(found.id) is not on record any more.")
            }
            return paced(found, answer, address.speed)
        }
        return Self.miss(api, try await nearest(organization, address, body, api))
    }

    private func inOrder(_ organization: OrganizationID, _ address: ReplayAddress) async throws -> ReplayStore.Recorded? {
        guard let session = address.session else { return nil }
        let place = positions.withLockedValue { positions in
            let key = "\(organization) \(address.provider) \(session)"
            defer { positions[key, default: 0] += 1 }
            return positions[key, default: 0]
        }
        return try await store.inSession(organization, address.provider, session, at: place)
    }

    private func nearest(
        _ organization: OrganizationID, _ address: ReplayAddress, _ body: ByteBuffer, _ api: ModelProtocol
    ) async throws -> String {
        let start = "No recorded request of the provider '\(address.provider)' of the last \(address.days) days is the same."
        guard let (near, earlier) = try await store.nearest(organization, address, body, api) else {
            return start + " There is none for this model."
        }
        let difference = RequestDifference.find(earlier: earlier, later: body)
        let place = difference.map { "differs at \($0.place), byte \($0.offset)" } ?? "is the beginning of this one"
        return "\(start) The nearest, \(near.id) of \(PriceIntervals.stamp(near.startedAt)), \(place)."
    }

    private func paced(_ call: ReplayStore.Recorded, _ answer: ContentStore.Body, _ speed: Double) -> LocalAnswer {
        let pacing = ReplayPacing(
            ByteBuffer(bytes: answer.bytes), isStream: answer.contentType.hasPrefix("text/event-stream"), firstByte: call.firstByte,
            total: call.total, speed: speed, timing: answer.timing)
        let (began, next) = (ContinuousClock.now, NIOLockedValueBox(0))
        return LocalAnswer(
            status: call.httpStatus, headers: [("content-type", answer.contentType), ("x-slipway-replayed", call.id.description)]
        ) {
            let index = next.withLockedValue { next in
                defer { next += 1 }
                return next
            }
            guard index < pacing.pieces.count else { return nil }
            let piece = pacing.pieces[index]
            if piece.at > .zero { try await Task.sleep(until: began + piece.at) }
            return piece.bytes
        }
    }

    private static func miss(_ api: ModelProtocol, _ message: String) -> LocalAnswer {
        let error = ErrorShape.body(api, status: 404, message: message, requestID: "replay")
        let isGiven = NIOLockedValueBox(false)
        return LocalAnswer(status: 404, headers: error.headers) {
            isGiven.withLockedValue { given -> ByteBuffer? in
                defer { given = true }
                return given ? nil : error.body
            }
        }
    }

    static func api(_ route: String) -> ModelProtocol {
        if route.contains("chat/completions") { return .chatCompletions }
        if route.contains("responses") { return .responses }
        if route.contains("enerateContent") || route.contains("mbedContent") { return .gemini }
        return route.contains("embeddings") ? .chatCompletions : .messages
    }
}

import Core
import ModelAPI
import NIOCore
import Telemetry

/// One call of a model, whoever makes it.
package struct GatewayCall: Sendable {
    /// Where it comes in.
    package enum Origin: Sendable, Equatable {
        case http
        case loop(task: TaskID, step: Int)
    }

    package var id: InterceptionID
    package var principal: Principal
    /// The provider's name.
    package var provider: String
    /// What follows the provider's name in the path, with the query, e.g. `v1/messages?beta=true`.
    package var route: String
    package var method: String
    package var headers: [(name: String, value: String)]
    package var body: ByteBuffer
    package var origin: Origin
    package var requestID: String
    package var clientAddress: String?
    /// Hears once the call is booked.
    package var booking: Booking?
    /// The span it is made in; nil: what its headers say.
    package var traceParent: TraceContext?
    /// Nil: it is no call for embeddings.
    var embedding: EmbeddingSummary.Format?
    /// Nil where nothing is traced.
    var trace: CallTrace?
    /// One round of a call into which these tools are injected; nil for all others.
    var injected: Set<String>?
    /// Which one; what is translated in a later round must not have the ids of an earlier one.
    var round = 1

    package init(
        id: InterceptionID = InterceptionID(), principal: Principal, provider: String, route: String, method: String = "POST",
        headers: [(name: String, value: String)] = [], body: ByteBuffer = ByteBuffer(), origin: Origin = .http, requestID: String,
        clientAddress: String? = nil, booking: Booking? = nil, traceParent: TraceContext? = nil
    ) {
        self.id = id
        self.principal = principal
        self.provider = provider
        self.route = Self.withoutKey(route)
        self.method = method
        self.headers = headers
        self.body = body
        self.origin = origin
        self.requestID = requestID
        self.clientAddress = clientAddress
        self.booking = booking
        self.traceParent = traceParent
    }

    /// Google's clients may send their key, a Slipway token here, as `key=` in the query: it goes neither upstream nor on record.
    private static func withoutKey(_ route: String) -> String {
        guard let mark = route.firstIndex(of: "?"), route[mark...].contains("key=") else { return route }
        let query = route[route.index(after: mark)...].split(separator: "&").filter { !$0.hasPrefix("key=") }
        return query.isEmpty ? String(route[..<mark]) : "\(route[..<mark])?\(query.joined(separator: "&"))"
    }
}

/// What the caller gets: the provider's answer, or an error in the provider's words.
package struct GatewayAnswer: Sendable {
    package var status: Int
    /// Without `content-length`: the server that sends it frames it.
    package var headers: [(name: String, value: String)]
    package var body: GatewayBody

    package init(status: Int, headers: [(name: String, value: String)], body: GatewayBody) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// The bytes of an answer, for one reader. Dropping it, or cancelling the task that reads it, means that the client has left: the
/// upstream is aborted and the call settled.
package struct GatewayBody: AsyncSequence, Sendable {
    package typealias Element = ByteBuffer

    private enum Source: Sendable {
        case whole(ByteBuffer)
        case relay(RelayLease)
        case shared(SharedReader)
        case inner(InnerLease)
    }

    private let source: Source

    package init(_ bytes: ByteBuffer) { source = .whole(bytes) }
    init(_ relay: Relay) { source = .relay(RelayLease(relay)) }
    init(_ reader: SharedReader) { source = .shared(reader) }
    init(_ inner: InnerStream) { source = .inner(InnerLease(inner)) }

    /// All of the body, when it is there at once; nil for a stream.
    package var whole: ByteBuffer? {
        if case .whole(let bytes) = source { bytes } else { nil }
    }

    package func makeAsyncIterator() -> AsyncIterator {
        switch source {
        case .whole(let bytes): AsyncIterator(bytes: bytes, lease: nil)
        case .relay(let lease): AsyncIterator(bytes: nil, lease: lease)
        case .shared(let reader): AsyncIterator(bytes: nil, lease: nil, reader: reader)
        case .inner(let inner): AsyncIterator(bytes: nil, lease: nil, inner: inner)
        }
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate var bytes: ByteBuffer?
        fileprivate let lease: RelayLease?
        fileprivate var reader: SharedReader?
        fileprivate var inner: InnerLease?

        /// Never throws for a stream: whatever goes wrong becomes a proper end in the client's protocol.
        package mutating func next() async -> ByteBuffer? {
            if let lease { return await lease.relay.next() }
            if let reader { return await reader.next() }
            if let inner { return await inner.stream.next() }
            defer { bytes = nil }
            return bytes.flatMap { $0.readableBytes > 0 ? $0 : nil }
        }
    }
}

/// Tells the relay when the last of those who could read from it is gone.
final class RelayLease: Sendable {
    let relay: Relay
    init(_ relay: Relay) { self.relay = relay }
    deinit { relay.clientLeft() }
}

/// A whole answer as it was recorded.
package struct RecordedAnswer: Sendable {
    package var status: Int
    package var contentType: String
    package var body: ByteBuffer
    /// As it was booked.
    package var cost: NanoDollars
    package var api: ModelProtocol
}

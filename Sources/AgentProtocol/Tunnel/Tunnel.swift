import NIOCore
import NIOHPACK
import NIOHTTP2

package enum TunnelError: Error, Sendable, Equatable {
    case streamClosed
    case bodyTooLarge(limit: Int)
    case badHello(String)
    /// The other side said no, and why.
    case refused(code: String, message: String)
    case connectionClosed
}

/// One HTTP/2 connection between a server process and an agent. The agent always dials; who is the HTTP/2 client is agreed in the hello.
package struct Tunnel: Sendable {
    package typealias Multiplexer = NIOHTTP2Handler.AsyncStreamMultiplexer<TunnelStream>

    package enum Mode: Sendable {
        /// Opens streams.
        case client
        /// Answers streams.
        case server
    }

    package let channel: any Channel
    private let multiplexer: Multiplexer

    /// Puts HTTP/2 on a connection; must run on its event loop, when the hello is over.
    init(on channel: any Channel, mode: Mode, keepAlive: KeepAlive = KeepAlive()) throws {
        self.channel = channel
        self.multiplexer = try channel.pipeline.syncOperations.configureAsyncHTTP2Pipeline(
            mode: mode == .client ? .client : .server, configuration: .tunnel(mode)
        ) { stream in
            stream.eventLoop.makeCompletedFuture { try TunnelStream(stream) }
        }
        // First, where the bytes are; what it writes goes through HTTP/2 from the other end.
        try channel.pipeline.syncOperations.addHandler(KeepAliveHandler(keepAlive), position: .first)
    }

    package var inbound: NIOHTTP2AsyncSequence<TunnelStream> { multiplexer.inbound }

    /// Opens a stream and sends its head, and a body if there is one already.
    ///
    /// - Parameter end: false when more of the body follows.
    package func open(_ head: HPACKHeaders, body: ByteBuffer? = nil, end: Bool = true) async throws -> TunnelStream {
        let opening = TunnelStream.Opening(head: head, body: body, end: end)
        return try await multiplexer.openStream { stream in
            stream.eventLoop.makeCompletedFuture { try TunnelStream(stream, opening: opening) }
        }
    }

    /// Says "going away, reconnect" and closes. Streams that are still open end with an error on both sides.
    package func goAway() {
        let frame = HTTP2Frame(
            streamID: .rootStream,
            payload: .goAway(lastStreamID: .maxID, errorCode: .noError, opaqueData: ByteBuffer(string: "reconnect")))
        channel.writeAndFlush(frame).whenComplete { _ in channel.close(promise: nil) }
    }

    package func waitUntilClosed() async { try? await channel.closeFuture.get() }
}

extension NIOHTTP2Handler.Configuration {
    /// Windows of 1 MiB per stream and 16 MiB per connection (2.4 GB/s on a unix socket, where 64 KiB gave 0.7), and limits that
    /// survive a peer that cancels a lot: by default the 201st reset within 30 s closes the whole connection.
    static func tunnel(_ mode: Tunnel.Mode) -> Self {
        let streamWindow = 1 << 20
        var configuration = Self()
        configuration.connection.initialSettings = [
            // For the answering side: how many calls may be open. More of them queue at the caller.
            .init(parameter: .maxConcurrentStreams, value: mode == .server ? 1000 : 0),
            .init(parameter: .maxHeaderListSize, value: 1 << 16),
            .init(parameter: .initialWindowSize, value: streamWindow),
            .init(parameter: .maxFrameSize, value: 1 << 17),
            .init(parameter: .enablePush, value: 0),
        ]
        configuration.connection.targetWindowSize = 16 << 20
        configuration.stream.targetWindowSize = streamWindow
        configuration.stream.streamResetFrameRateLimit.maximumCount = 10_000
        configuration.stream.streamErrorRateLimit.maximumCount = 10_000
        configuration.connection.controlFrameRateLimit.maximumCount = 1_000
        return configuration
    }
}

extension ChannelOptions {
    /// Reads of up to 256 KiB; an idle connection holds 2.
    package static var tunnelReadBuffer: AdaptiveRecvByteBufferAllocator {
        AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 2048, maximum: 1 << 18)
    }
}

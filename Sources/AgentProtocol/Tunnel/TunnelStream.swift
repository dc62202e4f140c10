import NIOCore
import NIOHPACK
import NIOHTTP2
import Synchronization

/// One HTTP/2 stream of a tunnel: a head, a body with back-pressure, and flow-controlled writes. Both ends use it.
///
/// Not `NIOAsyncChannel`: that does not know END_STREAM, and its scope does not fit "return the head and a body to read later".
package final class TunnelStream: Sendable {
    package typealias Body = NIOThrowingAsyncSequenceProducer<
        ByteBuffer, any Error, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark, Demand
    >

    package let channel: any Channel
    /// Dropping it, or cancelling its reader, before the end resets the stream; leaving it unread holds the sender back.
    package let body: Body
    private let head: EventLoopFuture<HPACKHeaders>

    /// Must run on the stream's event loop, in a stream initializer.
    init(_ channel: any Channel) throws {
        let inputEnded = Flag()
        let sequence = Body.makeSequence(
            elementType: ByteBuffer.self, failureType: (any Error).self,
            backPressureStrategy: .init(lowWatermark: 8, highWatermark: 32),
            finishOnDeinit: false, delegate: Demand(channel: channel, inputEnded: inputEnded))
        let promise = channel.eventLoop.makePromise(of: HPACKHeaders.self)
        self.channel = channel
        self.body = sequence.sequence
        self.head = promise.futureResult
        try channel.syncOptions?.setOption(.autoRead, value: false)
        try channel.pipeline.syncOperations.addHandler(
            StreamHandler(head: promise, source: sequence.source, inputEnded: inputEnded))
    }

    package func receiveHead() async throws -> HPACKHeaders {
        try await withTaskCancellationHandler {
            try await head.get()
        } onCancel: {
            reset()
        }
    }

    package func send(_ headers: HPACKHeaders, end: Bool = false) async throws {
        try await put(.headers(.init(headers: headers, endStream: end)))
    }

    /// Head and short body in one flush, without waiting: a failure shows up as the stream's end.
    package func post(_ headers: HPACKHeaders, body: ByteBuffer? = nil, end: Bool = true) {
        let head = HTTP2Frame.FramePayload.headers(.init(headers: headers, endStream: end && body == nil))
        guard let body else { return channel.writeAndFlush(head, promise: nil) }
        channel.write(head, promise: nil)
        channel.writeAndFlush(HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(body), endStream: end)), promise: nil)
    }

    /// Returns when the bytes left for the socket, that is after flow control let them through.
    package func write(_ bytes: ByteBuffer, end: Bool = false) async throws {
        try await put(.data(.init(data: .byteBuffer(bytes), endStream: end)))
    }

    /// Writes chunks with two of them in flight, then ends the stream unless told otherwise.
    package func write<Chunks: AsyncSequence>(contentsOf chunks: Chunks, end: Bool = true) async throws
    where Chunks.Element == ByteBuffer {
        var previous: EventLoopFuture<Void>?
        try await withTaskCancellationHandler {
            for try await chunk in chunks {
                let current: EventLoopFuture<Void> = channel.writeAndFlush(
                    HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(chunk))))
                try await previous?.get()
                previous = current
            }
            try await previous?.get()
        } onCancel: {
            reset()
        }
        if end { try await write(ByteBuffer(), end: true) }
    }

    /// Gathers the body, or throws `TunnelError.bodyTooLarge`.
    package func collect(upTo limit: Int) async throws -> ByteBuffer {
        var all = ByteBuffer()
        for try await var chunk in body {
            if all.readableBytes + chunk.readableBytes > limit { throw TunnelError.bodyTooLarge(limit: limit) }
            if all.readableBytes == 0 { all = chunk } else { all.writeBuffer(&chunk) }
        }
        return all
    }

    /// Waits until both directions ended: whoever answers must keep the stream until then, or the answer is reset.
    package func waitUntilClosed() async { try? await channel.closeFuture.get() }

    /// RST_STREAM(CANCEL), unless both directions already ended.
    package func reset() { channel.close(promise: nil) }

    private func put(_ frame: HTTP2Frame.FramePayload) async throws {
        try await withTaskCancellationHandler {
            try await channel.writeAndFlush(frame).get()
        } onCancel: {
            reset()
        }
    }

    final class Flag: Sendable { let value = Atomic(false) }

    /// Consumer demand drives `channel.read()`; a consumer that goes away early resets the stream.
    package struct Demand: NIOAsyncSequenceProducerDelegate {
        let channel: any Channel
        let inputEnded: Flag
        package func produceMore() { channel.read() }
        package func didTerminate() {
            // Also called after a normal end, where a reset would cut off the answer.
            if !inputEnded.value.load(ordering: .acquiring) { channel.close(promise: nil) }
        }
    }
}

/// Sorts a stream's frames into head and body.
private final class StreamHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let head: EventLoopPromise<HPACKHeaders>
    private let source: TunnelStream.Body.Source
    private let inputEnded: TunnelStream.Flag
    private var batch: [ByteBuffer] = []

    init(head: EventLoopPromise<HPACKHeaders>, source: TunnelStream.Body.Source, inputEnded: TunnelStream.Flag) {
        (self.head, self.source, self.inputEnded) = (head, source, inputEnded)
    }

    func channelActive(context: ChannelHandlerContext) {
        context.read()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .headers(let headers):
            head.succeed(headers.headers)  // a second block would be trailers, which nobody sends
            if headers.endStream { end() }
        case .data(let data):
            if case .byteBuffer(let bytes) = data.data, bytes.readableBytes > 0 { batch.append(bytes) }
            if data.endStream { end() }
        default: break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if deliver() { context.read() }
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) { fail(TunnelError.streamClosed) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(error)
        context.close(promise: nil)
    }

    private func deliver() -> Bool {
        if batch.isEmpty { return true }
        defer { batch.removeAll(keepingCapacity: true) }
        if case .produceMore = source.yield(contentsOf: batch) { return true }
        return false
    }

    private func end() {
        inputEnded.value.store(true, ordering: .releasing)
        _ = deliver()
        source.finish()
    }

    private func fail(_ error: any Error) {
        head.fail(error)
        inputEnded.value.store(true, ordering: .releasing)
        source.finish(error)
    }
}

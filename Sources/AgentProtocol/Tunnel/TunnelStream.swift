import NIOConcurrencyHelpers
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
    private let head = Head()

    /// What is sent as soon as the stream is there.
    struct Opening: Sendable {
        var head: HPACKHeaders
        var body: ByteBuffer?
        var end: Bool
    }

    /// Must run on the stream's event loop, in a stream initializer.
    init(_ channel: any Channel, opening: Opening? = nil) throws {
        let inputEnded = Flag()
        let sequence = Body.makeSequence(
            elementType: ByteBuffer.self, failureType: (any Error).self,
            backPressureStrategy: .init(lowWatermark: 8, highWatermark: 32),
            finishOnDeinit: false, delegate: Demand(channel: channel, inputEnded: inputEnded))
        self.channel = channel
        self.body = sequence.sequence
        try channel.syncOptions?.setOption(.autoRead, value: false)
        try channel.pipeline.syncOperations.addHandler(
            StreamHandler(head: head, source: sequence.source, inputEnded: inputEnded, opening: opening))
    }

    package func receiveHead() async throws -> HPACKHeaders {
        try await withTaskCancellationHandler {
            try await head.value()
        } onCancel: {
            reset()
        }
    }

    package func send(_ headers: HPACKHeaders, end: Bool = false) async throws {
        try await put(.headers(.init(headers: headers, endStream: end)))
    }

    /// Head and short body in one flush, without waiting: a failure shows up as the stream's end.
    package func post(_ headers: HPACKHeaders, body: ByteBuffer? = nil, end: Bool = true) {
        let opening = Opening(head: headers, body: body, end: end)
        // One visit to the event loop for both.
        channel.eventLoop.execute { [channel] in opening.write(to: channel) }
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

    /// RST_STREAM(CANCEL), unless both directions already ended. Who waits for the head is told, also if the stream never got onto the
    /// connection.
    package func reset() {
        channel.close(promise: nil)
        head.complete(.failure(TunnelError.streamClosed))
    }

    private func put(_ frame: HTTP2Frame.FramePayload) async throws {
        try await withTaskCancellationHandler {
            try await channel.writeAndFlush(frame).get()
        } onCancel: {
            reset()
        }
    }

    /// The head, once it has come, for one reader at a time.
    final class Head: Sendable {
        private enum State {
            case awaited([CheckedContinuation<HPACKHeaders, any Error>])
            case done(Result<HPACKHeaders, any Error>)
        }

        private let state = NIOLockedValueBox(State.awaited([]))

        func value() async throws -> HPACKHeaders {
            try await withCheckedThrowingContinuation { continuation in
                let result = state.withLockedValue { state -> Result<HPACKHeaders, any Error>? in
                    switch state {
                    case .done(let result): return result
                    case .awaited(let waiting):
                        state = .awaited(waiting + [continuation])
                        return nil
                    }
                }
                if let result { continuation.resume(with: result) }
            }
        }

        /// The first result counts.
        func complete(_ result: Result<HPACKHeaders, any Error>) {
            let waiting = state.withLockedValue { state -> [CheckedContinuation<HPACKHeaders, any Error>] in
                guard case .awaited(let waiting) = state else { return [] }
                state = .done(result)
                return waiting
            }
            for continuation in waiting { continuation.resume(with: result) }
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

extension TunnelStream.Opening {
    /// On the channel's event loop.
    fileprivate func write(to channel: any Channel) {
        let first = HTTP2Frame.FramePayload.headers(.init(headers: head, endStream: end && body == nil))
        guard let body else { return channel.writeAndFlush(first, promise: nil) }
        channel.write(first, promise: nil)
        channel.writeAndFlush(HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(body), endStream: end)), promise: nil)
    }
}

/// Sorts a stream's frames into head and body.
private final class StreamHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let head: TunnelStream.Head
    private var opening: TunnelStream.Opening?
    private let source: TunnelStream.Body.Source
    private let inputEnded: TunnelStream.Flag
    private var batch: [ByteBuffer] = []

    init(
        head: TunnelStream.Head, source: TunnelStream.Body.Source, inputEnded: TunnelStream.Flag, opening: TunnelStream.Opening?
    ) {
        (self.head, self.source, self.inputEnded, self.opening) = (head, source, inputEnded, opening)
    }

    func channelActive(context: ChannelHandlerContext) {
        opening?.write(to: context.channel)
        opening = nil
        context.read()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .headers(let headers):
            head.complete(.success(headers.headers))  // a second block would be trailers, which nobody sends
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
        head.complete(.failure(error))
        inputEnded.value.store(true, ordering: .releasing)
        source.finish(error)
    }
}

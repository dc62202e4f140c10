import Core
import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// What the handler needs of who answers.
protocol ModelCalls: Sendable {
    /// What follows the head of a stream. Dropped, or cancelled with the task that reads it, when the client has left.
    associatedtype Stream: AsyncSequence, Sendable where Stream.Element == ByteBuffer, Stream.Failure == Never

    /// Who makes this call; nil: it is the router's.
    func caller(of head: HTTPRequest) -> Principal?

    /// Writes the whole answer, or the head of a stream.
    ///
    /// - Returns: what is to follow; nil when all is written.
    func answer(_ incoming: ModelCallHandler.Incoming, to writer: ModelCallHandler.Writer) async -> Stream?
}

/// The data plane: in front of the router on every connection it takes the calls of models out and answers them on the connection's
/// own event loop, without a hop per part of a request. Everything else passes through untouched, calls of strangers too: a body is
/// kept only for those who are known (`ModelCalls.caller(of:)`).
///
/// Why it is there: the same call through the router costs about twice the CPU (docs/benchmarks.md).
final class ModelCallHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    struct Incoming: Sendable {
        var head: HTTPRequest
        /// Whom `caller(of:)` let in.
        var principal: Principal
        /// Nil: larger than `GatewayDoor.maxBodyBytes`.
        var body: ByteBuffer?
        var peer: String?
    }

    /// What may wait behind a request that is being answered; beyond it nothing is read.
    private static let mostHeldBytes = 64 << 10

    private let answerer: any ModelCalls
    private let patience: TimeAmount
    private var context: ChannelHandlerContext?
    private var executor: LoopExecutor?
    private var turns = ConnectionTurns()
    /// The call whose body is arriving.
    private var arriving: (head: HTTPRequest, principal: Principal)?
    private var body = ByteBuffer()
    private var answering: Task<Void, Never>?
    private var closesAfterAnswer = false
    private var hasLeft = false
    /// The request that is being refused is still arriving: closing now would reset the connection under its sender.
    private var isRefusedEarly = false
    private var writableWaiter: CheckedContinuation<Void, Never>?
    /// Ends the connection of a client that reads nothing any more.
    private var stall: Scheduled<Void>?
    /// Short, and nearly always empty: an array without storage of its own.
    private var held: [HTTPRequestPart] = []
    private var heldBytes = 0
    private var isReadWanted = false

    /// - Parameter patience: for a client that takes nothing of an answer that is there. It holds a place, budget and the upstream.
    init(_ answerer: any ModelCalls, patience: TimeAmount = .seconds(Int64(Disconnect.patience.components.seconds))) {
        self.answerer = answerer
        self.patience = patience
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        executor = LoopExecutor(context.eventLoop)
        // Not `channelInactive`: a handler in front of this one does not pass that on.
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.channel.closeFuture.whenComplete { _ in bound.value.left() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        left()
        self.context = nil
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        if held.isEmpty, take(part, context) { return }
        held.append(part)
        if case .body(let bytes) = part { heldBytes += bytes.readableBytes }
    }

    func read(context: ChannelHandlerContext) {
        if heldBytes > Self.mostHeldBytes || held.count > 64 { isReadWanted = true } else { context.read() }
    }

    /// False: its turn has not come.
    private func take(_ part: HTTPRequestPart, _ context: ChannelHandlerContext) -> Bool {
        var caller: Principal?
        if case .head(let head) = part { caller = answerer.caller(of: head) }
        switch turns.take(kind(of: part, isCall: caller != nil)) {
        case .later: return false
        case .router: context.fireChannelRead(wrapInboundOut(part))
        case .call:
            switch part {
            case .head(let head):
                arriving = caller.map { (head, $0) }
                body = ByteBuffer()
                if let length = head.headerFields[.contentLength].flatMap(Int.init), length > GatewayDoor.maxBodyBytes {
                    refuseSize()
                }
            case .body(var bytes):
                guard arriving != nil else { break }
                if body.readableBytes + bytes.readableBytes > GatewayDoor.maxBodyBytes {
                    refuseSize()
                } else if body.readableBytes == 0 {
                    body = bytes
                } else {
                    body.writeBuffer(&bytes)
                }
            case .end:
                if arriving != nil { answer() } else if answering == nil { context.close(promise: nil) }
                isRefusedEarly = false
            }
        }
        return true
    }

    private func kind(of part: HTTPRequestPart, isCall: Bool) -> ConnectionTurns.Part {
        switch part {
        case .head: isCall ? .callHead : .otherHead
        case .body: .body
        case .end: .end
        }
    }

    /// The answer does not wait for the rest of the body, which is read and dropped; then the connection ends.
    private func refuseSize() {
        turns.refusedEarly()
        isRefusedEarly = true
        closesAfterAnswer = true
        answer(tooLarge: true)
    }

    private func answer(tooLarge: Bool = false) {
        guard let context, let executor, let (head, principal) = arriving else { return }
        if head.headerFields[.connection]?.lowercased() == "close" { closesAfterAnswer = true }
        let request = Incoming(
            head: head, principal: principal, body: tooLarge ? nil : body, peer: context.remoteAddress?.ipAddress)
        arriving = nil
        body = ByteBuffer()
        let writer = Writer(handler: NIOLoopBound(self, eventLoop: context.eventLoop))
        // Ends with the call, and is cancelled when the client leaves; the gateway's shutdown ends all calls.
        answering = ask(answerer, request, writer, executor)
        if hasLeft { answering?.cancel() }
    }

    private func ask<Calls: ModelCalls>(
        _ calls: Calls, _ request: Incoming, _ writer: Writer, _ executor: LoopExecutor
    ) -> Task<Void, Never> {
        Task(executorPreference: executor) {
            if let rest = await calls.answer(request, to: writer) {
                writer.goOn(with: rest)
            } else {
                writer.finished(isWhole: true)
            }
        }
    }

    /// In a task of its own: the one that asked for the answer keeps what its deepest calls needed, some 20 KiB, until it ends, and a
    /// stream lasts for minutes.
    private func goOn<Stream: AsyncSequence & Sendable>(with body: Stream)
    where Stream.Element == ByteBuffer, Stream.Failure == Never {
        guard let context, let executor else { return }
        let writer = Writer(handler: NIOLoopBound(self, eventLoop: context.eventLoop))
        // Ends with the stream, and is cancelled when the client leaves; the gateway's shutdown ends all streams.
        answering = Task(executorPreference: executor) {
            for await chunk in body { await writer.write(chunk) }
            writer.finished(isWhole: !Task.isCancelled)
        }
        if hasLeft { answering?.cancel() }
    }

    // MARK: Answers

    /// Writes the answer of one call; on the connection's loop alone.
    struct Writer: Sendable {
        fileprivate let handler: NIOLoopBound<ModelCallHandler>

        /// The whole answer at once.
        func write(_ head: HTTPResponse, whole: ByteBuffer) {
            guard let context = handler.value.context else { return }
            context.write(ModelCallHandler.wrap(.head(head)), promise: nil)
            if whole.readableBytes > 0 { context.write(ModelCallHandler.wrap(.body(whole)), promise: nil) }
        }

        func write(_ head: HTTPResponse) { handler.value.context?.write(ModelCallHandler.wrap(.head(head)), promise: nil) }

        /// Returns when the connection takes more.
        func write(_ chunk: ByteBuffer) async {
            guard let context = handler.value.context else { return }
            context.writeAndFlush(ModelCallHandler.wrap(.body(chunk)), promise: nil)
            if !context.channel.isWritable { await handler.value.becomesWritable() }
        }

        fileprivate func goOn<Stream: AsyncSequence & Sendable>(with body: Stream)
        where Stream.Element == ByteBuffer, Stream.Failure == Never { handler.value.goOn(with: body) }

        /// - Parameter isWhole: false cuts the connection, so that nobody takes the answer for complete.
        fileprivate func finished(isWhole: Bool) { handler.value.finished(isWhole: isWhole) }
    }

    private static func wrap(_ part: HTTPResponsePart) -> NIOAny { NIOAny(part) }

    private func becomesWritable() async {
        if let context {
            let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
            stall = context.eventLoop.scheduleTask(in: patience) { bound.value.context?.close(promise: nil) }
        }
        await withCheckedContinuation { continuation in
            // One who has left may never read again, and says nothing more.
            writableWaiter = continuation
            if hasLeft || context?.channel.isWritable ?? true { resumeWriter() }
        }
    }

    private func finished(isWhole: Bool) {
        answering = nil
        guard let context else { return }
        guard isWhole else { return context.close(promise: nil) }
        context.writeAndFlush(Self.wrap(.end(nil)), promise: nil)
        if closesAfterAnswer { return context.close(mode: isRefusedEarly ? .output : .all, promise: nil) }
        turns.callAnswered()
        resumeHeld()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        context.write(data, promise: promise)
        if case .end = unwrapOutboundIn(data) {
            turns.routerAnswered()
            // The answer's bytes are flushed after this; what was held must not overtake them.
            if !held.isEmpty {
                context.flush()
                resumeHeld()
            }
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { resumeWriter() }
        context.fireChannelWritabilityChanged()
    }

    private func resumeWriter() {
        stall?.cancel()
        stall = nil
        writableWaiter?.resume()
        writableWaiter = nil
    }

    private func resumeHeld() {
        guard let context else { return }
        var hasForwarded = false
        while let part = held.first, take(part, context) {
            held.removeFirst()
            if case .body(let bytes) = part { heldBytes -= bytes.readableBytes }
            hasForwarded = true
        }
        if hasForwarded { context.fireChannelReadComplete() }
        if isReadWanted, heldBytes <= Self.mostHeldBytes, held.count <= 64 {
            isReadWanted = false
            context.read()
        }
    }

    // MARK: Clients that leave

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // A client that closes its sending half counts as gone: no HTTP client does so and then reads an answer.
        if case ChannelEvent.inputClosed = event { left() }
        context.fireUserInboundEventTriggered(event)
    }

    private func left() {
        hasLeft = true
        answering?.cancel()
        resumeWriter()
    }
}

/// Runs tasks on an event loop: what a connection's call awaits comes back to the connection's own thread.
final class LoopExecutor: TaskExecutor {
    private let loop: any EventLoop

    init(_ loop: any EventLoop) { self.loop = loop }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

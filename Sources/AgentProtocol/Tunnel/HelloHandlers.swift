import NIOCore

/// The dialling side: sends the hello, waits for the answer, then puts HTTP/2 on the connection.
final class HelloDialler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let hello: Hello
    private let established: EventLoopPromise<Tunnel>
    private var received = ByteBuffer()
    private var done = false

    init(_ hello: Hello, established: EventLoopPromise<Tunnel>) { (self.hello, self.established) = (hello, established) }

    func channelActive(context: ChannelHandlerContext) {
        do { context.writeAndFlush(Self.wrapOutboundOut(try HelloLine.encode(hello)), promise: nil) } catch { fail(context, error) }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if done { return context.fireChannelRead(data) }
        received.writeImmutableBuffer(Self.unwrapInboundIn(data))
        do {
            guard let reply = try HelloLine.take(HelloReply.self, from: &received) else { return }
            guard reply.accepted else {
                throw TunnelError.refused(code: reply.code ?? "refused", message: reply.message ?? "no reason given")
            }
            done = true
            let tunnel = try Tunnel(on: context.channel, mode: hello.role == .serve ? .server : .client)
            established.succeed(tunnel)
            if received.readableBytes > 0 {  // the peer's HTTP/2 preface in the same packet
                context.fireChannelRead(Self.wrapInboundOut(received))
                context.fireChannelReadComplete()
            }
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        } catch {
            fail(context, error)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        established.fail(TunnelError.connectionClosed)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { fail(context, error) }

    private func fail(_ context: ChannelHandlerContext, _ error: any Error) {
        established.fail(error)
        context.close(promise: nil)
    }
}

extension HelloDialler { typealias InboundOut = ByteBuffer }

/// The accepting side: reads the hello, asks who it is, answers, then puts HTTP/2 on the connection.
final class HelloAcceptor: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Decides; the second value is run with the tunnel, on its event loop, when the answer was written.
    typealias Decide = @Sendable (Hello) async -> (HelloReply, (@Sendable (Tunnel) -> Void)?)

    private let decide: Decide
    private let patience: TimeAmount
    private var received = ByteBuffer()
    private var deciding = false
    private var done = false
    private var timer: Scheduled<Void>?

    init(patience: TimeAmount, decide: @escaping Decide) { (self.patience, self.decide) = (patience, decide) }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if done { return context.fireChannelRead(data) }
        received.writeImmutableBuffer(Self.unwrapInboundIn(data))
        if deciding {  // nothing should come before our answer; a little is kept, a lot is hostile
            if received.readableBytes > HelloLine.limit { context.close(promise: nil) }
            return
        }
        do {
            guard let hello = try HelloLine.take(Hello.self, from: &received) else { return }
            deciding = true
            let decision = context.eventLoop.makePromise(of: (HelloReply, (@Sendable (Tunnel) -> Void)?).self)
            let decide = decide
            decision.completeWithTask { await decide(hello) }
            decision.futureResult.assumeIsolated().whenSuccess { self.answer(context, hello, $0.0, $0.1) }
        } catch TunnelError.badHello(let why) {
            refuse(context, .refuse("bad_hello", "This socket speaks slipway-tunnel: \(why)."))
        } catch {
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func answer(
        _ context: ChannelHandlerContext, _ hello: Hello, _ reply: HelloReply, _ then: (@Sendable (Tunnel) -> Void)?
    ) {
        timer?.cancel()
        guard context.channel.isActive else { return }
        guard reply.accepted, let then else { return refuse(context, reply) }
        do {
            context.writeAndFlush(Self.wrapOutboundOut(try HelloLine.encode(reply)), promise: nil)
            done = true
            let tunnel = try Tunnel(on: context.channel, mode: hello.role == .serve ? .client : .server)
            then(tunnel)
            if received.readableBytes > 0 {
                context.fireChannelRead(Self.wrapInboundOut(received))
                context.fireChannelReadComplete()
            }
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        } catch {
            context.close(promise: nil)
        }
    }

    private func refuse(_ context: ChannelHandlerContext, _ reply: HelloReply) {
        guard let line = try? HelloLine.encode(reply) else { return context.close(promise: nil) }
        let channel = context.channel
        context.writeAndFlush(Self.wrapOutboundOut(line)).whenComplete { _ in channel.close(promise: nil) }
    }
}

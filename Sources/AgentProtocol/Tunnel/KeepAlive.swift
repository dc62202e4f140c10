import NIOCore
import NIOHTTP2

/// Notices a peer that is gone without a word: stopped, hung, or behind a connection that swallows everything.
///
/// Each side asks by itself, whatever its role. Any byte is a sign of life, so a peer that is busy sending is never taken for dead.
package struct KeepAlive: Sendable {
    /// How long nothing is heard before a ping is sent.
    package var interval: TimeAmount
    /// How long nothing is heard before the connection is given up; the other side then dials, or waits to be dialled, again.
    package var patience: TimeAmount

    package init(interval: TimeAmount = .seconds(3), patience: TimeAmount = .seconds(10)) {
        (self.interval, self.patience) = (interval, patience)
    }
}

/// In front of HTTP/2, where the bytes are.
final class KeepAliveHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let rule: KeepAlive
    private var heard = NIODeadline.now()
    private var timer: Scheduled<Void>?

    init(_ rule: KeepAlive) { self.rule = rule }

    func handlerAdded(context: ChannelHandlerContext) {
        heard = .now()
        look(context.channel)
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        heard = .now()
        context.fireChannelRead(data)
    }

    private func look(_ channel: any Channel) {
        let silence = NIODeadline.now() - heard
        if silence >= rule.patience { return channel.close(promise: nil) }
        if silence >= rule.interval {
            channel.writeAndFlush(
                HTTP2Frame(streamID: .rootStream, payload: .ping(HTTP2PingData(), ack: false)), promise: nil)
        }
        let handler = NIOLoopBound(self, eventLoop: channel.eventLoop)
        timer = channel.eventLoop.scheduleTask(in: rule.interval) { handler.value.look(channel) }
    }
}

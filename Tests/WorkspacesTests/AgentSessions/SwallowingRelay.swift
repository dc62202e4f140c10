import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// A unix socket that passes bytes on to another one, until it is told to swallow them: then the connections that there are stay open
/// and nothing more comes through, in either direction, as behind a firewall that forgot them. New connections pass again.
final class SwallowingRelay: Sendable {
    private final class Passage: Sendable { let isOpen = NIOLockedValueBox(true) }

    private let passages = NIOLockedValueBox<[Passage]>([])

    /// Listens at `path` while the body runs.
    static func with<Value>(_ path: String, to target: String, _ body: (SwallowingRelay) async throws -> Value) async throws
        -> Value
    {
        let relay = SwallowingRelay()
        let listening = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { near in
                let passage = Passage()
                relay.passages.withLockedValue { $0.append(passage) }
                return ClientBootstrap(group: near.eventLoop).connect(unixDomainSocketPath: target).flatMapThrowing { far in
                    try near.pipeline.syncOperations.addHandler(Pipe(to: far, passage))
                    try far.pipeline.syncOperations.addHandler(Pipe(to: near, passage))
                }
            }
            .bind(unixDomainSocketPath: path).get()
        defer { listening.close(promise: nil) }
        return try await body(relay)
    }

    /// The connections that there are now.
    func swallow() {
        let now = passages.withLockedValue { $0 }
        for passage in now { passage.isOpen.withLockedValue { $0 = false } }
    }

    private final class Pipe: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        private let other: any Channel
        private let passage: Passage

        init(to other: any Channel, _ passage: Passage) { (self.other, self.passage) = (other, passage) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if passage.isOpen.withLockedValue({ $0 }) { other.writeAndFlush(Self.unwrapInboundIn(data), promise: nil) }
        }

        func channelInactive(context: ChannelHandlerContext) {
            if passage.isOpen.withLockedValue({ $0 }) { other.close(promise: nil) }
        }
    }
}

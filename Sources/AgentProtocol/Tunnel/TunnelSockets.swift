import NIOCore
import NIOPosix

extension Tunnel {
    /// Dials a server's unix socket and agrees on the tunnel.
    ///
    /// - Throws: `TunnelError.refused` with the server's reason; an I/O error when nobody listens.
    package static func dial(
        unixSocket path: String, hello: Hello, group: any EventLoopGroup, patience: TimeAmount = .seconds(10)
    ) async throws -> Tunnel {
        let established = group.next().makePromise(of: Tunnel.self)
        do {
            let channel = try await ClientBootstrap(group: established.futureResult.eventLoop)
                .channelOption(.recvAllocator, value: ChannelOptions.tunnelReadBuffer)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(HelloDialler(hello, established: established))
                    }
                }
                .connect(unixDomainSocketPath: path).get()
            let timer = channel.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
            defer { timer.cancel() }
            return try await withTaskCancellationHandler {
                try await established.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            established.fail(error)
            throw error
        }
    }

    /// Listens on a unix socket, replacing whatever has that name.
    ///
    /// - Parameters:
    ///   - patience: How long a caller may take for its hello, the decision included.
    ///   - decide: The answer to a hello, and what to do with its tunnel, on its event loop.
    package static func listen(
        unixSocket path: String, group: any EventLoopGroup, patience: TimeAmount = .seconds(5),
        decide: @escaping @Sendable (Hello) async -> (HelloReply, (@Sendable (Tunnel) -> Void)?)
    ) async throws -> any Channel {
        try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.recvAllocator, value: ChannelOptions.tunnelReadBuffer)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(HelloAcceptor(patience: patience, decide: decide))
                }
            }
            .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
    }
}

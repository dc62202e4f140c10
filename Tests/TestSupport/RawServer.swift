import Foundation
import NIOCore
import NIOPosix

/// A TCP or unix-socket server whose connections are scripted byte by byte: what an upstream may do, right or wrong.
package final class RawServer: Sendable {
    package typealias Script = @Sendable (RawConnection) async throws -> Void

    private let channel: NIOAsyncChannel<NIOAsyncChannel<ByteBuffer, ByteBuffer>, Never>
    package let port: Int
    package let group: MultiThreadedEventLoopGroup

    private init(channel: NIOAsyncChannel<NIOAsyncChannel<ByteBuffer, ByteBuffer>, Never>, group: MultiThreadedEventLoopGroup) {
        self.channel = channel
        self.group = group
        port = channel.channel.localAddress?.port ?? 0
    }

    package var url: String { "http://127.0.0.1:\(port)/" }

    /// Runs `body` against a server that answers each connection with `script`.
    package static func with<R: Sendable>(
        unixSocket: String? = nil, _ script: @escaping Script, _ body: (RawServer) async throws -> R
    ) async throws -> R {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.allowRemoteHalfClosure, value: false)
        let initialize: @Sendable (any Channel) -> EventLoopFuture<NIOAsyncChannel<ByteBuffer, ByteBuffer>> = { child in
            child.eventLoop.makeCompletedFuture { try NIOAsyncChannel(wrappingChannelSynchronously: child) }
        }
        let channel =
            if let unixSocket {
                try await bootstrap.bind(unixDomainSocketPath: unixSocket, childChannelInitializer: initialize)
            } else {
                try await bootstrap.bind(host: "127.0.0.1", port: 0, childChannelInitializer: initialize)
            }
        let server = RawServer(channel: channel, group: group)
        let serving = Task { await server.serve(script) }
        do {
            let result = try await body(server)
            serving.cancel()
            await serving.value
            try await group.shutdownGracefully()
            return result
        } catch {
            serving.cancel()
            await serving.value
            try await group.shutdownGracefully()
            throw error
        }
    }

    private func serve(_ script: @escaping Script) async {
        await withDiscardingTaskGroup { tasks in
            try? await channel.executeThenClose { connections in
                for try await connection in connections {
                    tasks.addTask {
                        try? await connection.executeThenClose { inbound, outbound in
                            try await script(RawConnection(inbound: inbound.makeAsyncIterator(), outbound: outbound))
                        }
                    }
                }
            }
            tasks.cancelAll()
        }
    }
}

/// One connection of a `RawServer`, used by its script alone.
package final class RawConnection {
    package struct Request: Sendable {
        package var head: String
        package var body: ByteBuffer
        package var path: String { String(head.split(separator: " ").dropFirst().first ?? "") }
        package var lines: [String] { head.components(separatedBy: "\r\n") }
    }

    private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private var received = ByteBuffer()
    /// How long the request is whose head was read; 0 before.
    private var needed = 0

    init(inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator, outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>) {
        self.inbound = inbound
        self.outbound = outbound
    }

    /// The next request with its body, nil when the client has left.
    package func request() async throws -> Request? {
        while true {
            if let request = parsed() { return request }
            guard var more = try await inbound.next() else { return nil }
            received.writeBuffer(&more)
        }
    }

    private func parsed() -> Request? {
        if received.readableBytes < needed { return nil }
        let view = received.readableBytesView
        guard let end = Data(view.prefix(64 << 10)).range(of: Data("\r\n\r\n".utf8)) else { return nil }
        let head = String(decoding: view.prefix(end.lowerBound), as: UTF8.self)
        let length =
            head.components(separatedBy: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
            .flatMap { Int($0.dropFirst(15).trimmingCharacters(in: .whitespaces)) } ?? 0
        needed = end.upperBound + length
        guard view.count >= needed else { return nil }
        needed = 0
        received.moveReaderIndex(forwardBy: end.upperBound)
        return Request(head: head, body: received.readSlice(length: length)!)
    }

    package func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }
    package func send(_ bytes: ByteBuffer) async throws { try await outbound.write(bytes) }

    /// Everything until the client says that nothing follows.
    package func rest() async throws -> ByteBuffer {
        var all = received
        while var piece = try await inbound.next() { all.writeBuffer(&piece) }
        return all
    }

    /// Returns when the client has closed the connection.
    package func untilClosed() async { while let _ = try? await inbound.next() {} }

    /// Answers every request with 200 and the text that `body` makes of it, on a kept connection.
    package func answerAll(_ body: (Request) -> String = { _ in "ok" }) async throws {
        while let request = try await request() {
            let text = body(request)
            try await send("HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)")
        }
    }
}

/// Something that happens once, in one task, and is awaited in another.
package final class Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    package init() { (stream, continuation) = AsyncStream.makeStream() }
    package func fire() { continuation.finish() }
    package func wait() async { for await _ in stream {} }
}

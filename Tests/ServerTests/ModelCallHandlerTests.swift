import Core
import Foundation
import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1
import NIOPosix
import TestSupport
import Testing

@testable import Server

/// The handler without what stands around it in a server, which ends a half-closed connection for reasons of its own.
@Suite(.timeLimit(.minutes(1))) struct ModelCallHandlerTests {
    /// Writes until its client has left, and then once more: what was on its way already.
    private struct OneMore: ModelCalls {
        let ended: Signal

        func caller(of head: HTTPRequest) -> Principal? {
            Principal(organization: .default, user: UserID(), username: "caller", roles: [])
        }

        func answer(_ incoming: ModelCallHandler.Incoming, to writer: ModelCallHandler.Writer) async -> Endless? {
            writer.write(HTTPResponse(status: .ok))
            return Endless(ended: ended)
        }

        struct Endless: AsyncSequence, AsyncIteratorProtocol, Sendable {
            let ended: Signal
            private var isLast = false

            init(ended: Signal) { self.ended = ended }

            func makeAsyncIterator() -> Endless { self }

            mutating func next() async -> ByteBuffer? {
                if isLast {
                    ended.fire()
                    return nil
                }
                isLast = Task.isCancelled
                return ByteBuffer(repeating: 0x78, count: 64 << 10)
            }
        }
    }

    @Test func `a client that stops reading and half-closes ends its call`() async throws {
        let ended = Signal()
        try await withHandler(OneMore(ended: ended)) { url in
            let client = try RawSocket(url, patience: 30, receiveBuffer: 4096)
            client.send(Data("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".utf8))
            _ = client.receive()
            client.halfClose()
            await ended.wait()
            // Not before: the end of the socket would end the call.
            withExtendedLifetime(client) {}
        }
    }

    @Test func `a client that takes nothing of its answer for too long counts as gone`() async throws {
        let ended = Signal()
        try await withHandler(OneMore(ended: ended), patience: .milliseconds(100)) { url in
            let client = try RawSocket(url, patience: 30, receiveBuffer: 4096)
            client.send(Data("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".utf8))
            _ = client.receive()
            await ended.wait()
            withExtendedLifetime(client) {}
        }
    }

    private func withHandler(
        _ calls: any ModelCalls, patience: TimeAmount = .seconds(300), _ body: (_ url: String) async throws -> Void
    ) async throws {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withPipeliningAssistance: false)
                    try channel.pipeline.syncOperations.addHandler(HTTP1ToHTTPServerCodec(secure: false))
                    try channel.pipeline.syncOperations.addHandler(ModelCallHandler(calls, patience: patience))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        do {
            try await body("http://127.0.0.1:\(channel.localAddress?.port ?? 0)")
        } catch {
            try await channel.close()
            throw error
        }
        try await channel.close()
    }
}

import Core
import HTTPTransport
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

/// Bodies that are large, slow, or not wanted any more.
@Suite(.timeLimit(.minutes(1)))
struct StreamTests {
    static let burstBytes = 20 << 20

    /// Repeats after a prime number of bytes, so that a lost or doubled piece shows.
    private static let period = 65_521
    private static let pattern = ByteBuffer(bytes: (0..<(3 * period)).map { UInt8(truncatingIfNeeded: ($0 % period) &* 31 >> 3) })

    static func expected(at offset: Int, count: Int) -> ByteBuffer { pattern.getSlice(at: offset % period, length: count)! }

    /// Writes 20 MB as fast as the client takes them.
    static func burst(_ connection: RawConnection) async throws {
        try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(burstBytes)\r\n\r\n")
        for offset in stride(from: 0, to: burstBytes, by: 32 << 10) {
            try await connection.send(expected(at: offset, count: 32 << 10))
        }
    }

    @Test(arguments: [false, true])
    func `a burst of 20 MB arrives whole with a fast and with a slow reader`(isSlow: Bool) async throws {
        try await RawServer.with { connection in
            while let request = try await connection.request() {
                if request.path == "/burst" {
                    try await Self.burst(connection)
                } else {
                    try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                }
            }
        } _: { server in
            try await withTransport { transport in
                let answer = try await transport.send(.local(server, "burst"))
                var offset = 0
                var largest = 0
                for try await piece in answer.body {
                    largest = max(largest, piece.readableBytes)
                    #expect(piece == Self.expected(at: offset, count: piece.readableBytes))
                    offset += piece.readableBytes
                    // Another call in between: time for the burst to run far ahead of this reader.
                    if isSlow { _ = try await transport.send(.local(server, "small")).body.collect(upTo: 1) }
                }
                #expect(offset == Self.burstBytes)
                #expect(largest <= 80 << 10, "a reader is never handed more than the high-water mark and one buffer")
            }
        }
    }

    /// Refuses all bytes, and says so.
    private final class RefusingSink: TransferSink {
        let paused = Signal()
        let finished = Signal()
        let failure = NIOLockedValueBox<(any Error)?>(nil)
        func head(status: Int, headers: [(name: String, value: String)]) {}
        func body(_ bytes: UnsafeRawBufferPointer) -> Bool {
            paused.fire()
            return false
        }
        func finished(_ failure: (any Error)?) {
            self.failure.withLockedValue { $0 = failure }
            finished.fire()
        }
        func turnEnded() {}
    }

    @Test func `a paused transfer is cancelled at once and its connection closed`() async throws {
        let closed = Signal()
        try await RawServer.with { connection in
            _ = try await connection.request()
            try? await Self.burst(connection)
            await connection.untilClosed()
            closed.fire()
        } _: { server in
            try await withTransport { transport in
                let sink = RefusingSink()
                let transfer = try transport.start(.local(server), sink: sink)
                await sink.paused.wait()
                transfer.cancel()
                await sink.finished.wait()
                #expect(sink.failure.withLockedValue { $0 } is CancellationError)
                await closed.wait()
            }
        }
    }

    @Test func `dropping an unread body closes the connection`() async throws {
        let closed = Signal()
        try await RawServer.with { connection in
            _ = try await connection.request()
            try? await Self.burst(connection)
            await connection.untilClosed()
            closed.fire()
        } _: { server in
            try await withTransport { transport in
                func readOnePiece() async throws {
                    var pieces = try await transport.send(.local(server)).body.makeAsyncIterator()
                    let first = try await pieces.next()
                    #expect(first != nil)
                }
                try await readOnePiece()
                await closed.wait()
            }
        }
    }

    @Test func `cancelling the task ends a call that waits for its answer`() async throws {
        let (asked, closed) = (Signal(), Signal())
        try await RawServer.with { connection in
            _ = try await connection.request()
            asked.fire()
            await connection.untilClosed()
            closed.fire()
        } _: { server in
            try await withTransport { transport in
                let call = Task { try await transport.send(.local(server)) }
                await asked.wait()
                call.cancel()
                await #expect(throws: CancellationError.self) { _ = try await call.value }
                await closed.wait()
            }
        }
    }

    @Test func `cancelling the task ends a read that waits for more`() async throws {
        let (reading, closed) = (Signal(), Signal())
        try await RawServer.with { connection in
            _ = try await connection.request()
            try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            await connection.untilClosed()
            closed.fire()
        } _: { server in
            try await withTransport { transport in
                let body = try await transport.send(.local(server)).body
                let read = Task {
                    var pieces = body.makeAsyncIterator()
                    let first = try await pieces.next()
                    #expect(first?.text == "half")
                    reading.fire()
                    _ = try await pieces.next()
                }
                await reading.wait()
                read.cancel()
                await #expect(throws: CancellationError.self) { try await read.value }
                await closed.wait()
            }
        }
    }

    @Test func `collect stops at its limit and ends the transfer`() async throws {
        let closed = Signal()
        try await RawServer.with { connection in
            _ = try await connection.request()
            try? await Self.burst(connection)
            await connection.untilClosed()
            closed.fire()
        } _: { server in
            try await withTransport { transport in
                let answer = try await transport.send(.local(server))
                let error = try await appError { _ = try await answer.body.collect(upTo: 1 << 20) }
                #expect(error.code == .tooLarge && error.source == .upstream)
                await closed.wait()
            }
        }
    }

    @Test func `each event reaches the reader before the next is sent`() async throws {
        let read = (0..<5).map { _ in Signal() }
        try await RawServer.with { connection in
            _ = try await connection.request()
            try await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for signal in read {
                try await connection.send("6\r\ndata\n\n\r\n")
                await signal.wait()
            }
            try await connection.send("0\r\n\r\n")
        } _: { server in
            try await withTransport { transport in
                var count = 0
                for try await piece in try await transport.send(.local(server)).body {
                    #expect(piece.text == "data\n\n")
                    read[count].fire()
                    count += 1
                }
                #expect(count == 5)
            }
        }
    }

    @Test func `500 calls at once each get their own answer`() async throws {
        try await RawServer.with { connection in
            try await connection.answerAll { $0.path + ":" + $0.body.text }
        } _: { server in
            try await withTransport(threads: 2) { transport in
                let answers = try await withThrowingTaskGroup(of: Bool.self) { group in
                    for n in 0..<500 {
                        group.addTask {
                            let answer = try await transport.send(
                                .local(server, "\(n)", method: "POST", body: ByteBuffer(string: "body \(n)")))
                            return try await answer.body.collect(upTo: 100).text == "/\(n):body \(n)"
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(answers.count == 500 && answers.allSatisfy { $0 })
            }
        }
    }

    @Test func `shutdown ends running and paused transfers and refuses new ones`() async throws {
        let asked = Signal()
        try await RawServer.with { connection in
            let request = try await connection.request()
            if request?.path == "/burst" {
                try await Self.burst(connection)
            } else {
                asked.fire()
                await connection.untilClosed()
            }
        } _: { server in
            try await withTransport { transport in
                let waiting = Task { try await transport.send(.local(server, "never")) }
                await asked.wait()
                let paused = RefusingSink()
                _ = try transport.start(.local(server, "burst"), sink: paused)
                await paused.paused.wait()
                await transport.shutdown()
                let first = try await appError { _ = try await waiting.value }
                #expect(first.code == .unavailable)
                #expect((paused.failure.withLockedValue { $0 } as? AppError)?.code == .unavailable)
                let late = try await appError { _ = try await transport.send(.local(server)) }
                #expect(late.code == .unavailable)
            }
        }
    }
}

import Core
import NIOCore

/// An answer whose head has come. Redirects and errors of the other side are answers like any other.
package struct HTTPClientResponse: Sendable {
    package let status: Int
    /// In the order of the wire, with duplicates, names as they were sent.
    package let headers: [(name: String, value: String)]
    package let body: HTTPBody

    /// The first header of this name, whatever its case.
    package func header(_ name: String) -> String? {
        headers.first { $0.name.utf8.count == name.utf8.count && $0.name.lowercased() == name.lowercased() }?.value
    }
}

/// The body of an answer, for one reader. Each element is what has come since the last one, at most about 72 KiB; a reader
/// that stops asking stops the sender. Dropping the body, or cancelling the reading task, ends the transfer.
///
/// - Throws: `upstream` when the answer is cut, `timeout` when it stalls, `CancellationError`.
package struct HTTPBody: AsyncSequence, Sendable {
    package typealias Element = ByteBuffer

    private let owner: BodyOwner

    init(sink: BodySink, transfer: any TransferControl) { owner = BodyOwner(sink: sink, transfer: transfer) }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(owner: owner) }

    package struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let owner: BodyOwner
        package mutating func next() async throws -> ByteBuffer? { try await owner.next() }
    }

    /// The next piece, as an iterator gives it; but a reader that is cancelled gets an empty piece, once, and can go on: for those who read
    /// on when their own reader has left.
    package func nextUnlessCancelled() async throws -> ByteBuffer? {
        try await owner.sink.next(of: owner.transfer, wakingWhenCancelled: true)
    }

    /// Ends the transfer now: a read in progress throws `CancellationError`.
    package func cancel() { owner.transfer.cancel() }

    /// A reader that waits for more gets an empty piece now.
    package func nudge() { owner.sink.nudge() }

    /// The whole body.
    ///
    /// - Throws: `too_large` when it has more than `limit` bytes; the transfer is then ended.
    package func collect(upTo limit: Int) async throws -> ByteBuffer {
        var whole = ByteBuffer()
        for try await var piece in self {
            guard whole.readableBytes + piece.readableBytes <= limit else {
                cancel()
                throw AppError(
                    .tooLarge, "the answer of \(owner.transfer.name) has more than \(limit) bytes", source: .upstream)
            }
            if whole.readableBytes == 0 { whole = piece } else { whole.writeBuffer(&piece) }
        }
        return whole
    }
}

/// Shared by a body and its iterators: the transfer ends with the last of them.
private final class BodyOwner: Sendable {
    let sink: BodySink
    let transfer: any TransferControl

    init(sink: BodySink, transfer: any TransferControl) {
        self.sink = sink
        self.transfer = transfer
    }

    deinit { if !sink.hasFinished { transfer.cancel() } }

    func next() async throws -> ByteBuffer? { try await sink.next(of: transfer) }
}

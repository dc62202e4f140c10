import Core
import Crypto
import Foundation
import NIOCore

/// Gathers an answer's bytes as they pass: hashes them as a whole, and cuts them into chunks when they are to be written.
struct AnswerRecorder: Sendable {
    private(set) var size = 0
    /// Hashes of all chunks that were cut so far.
    private(set) var chunkHashes = Data()
    private var hash = SHA256()
    private var pending: [ByteBuffer] = []
    private var pendingBytes = 0
    /// Nil: when its pieces come is not recorded.
    private(set) var times: ChunkTimes?

    init(times: ChunkTimes? = nil) { self.times = times }

    mutating func append(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        bytes.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
        size += bytes.readableBytes
        pendingBytes += bytes.readableBytes
        pending.append(bytes)
        times?.came(bytes.readableBytes)
    }

    var hasPending: Bool { pendingBytes > 0 }

    /// Cuts what has come since the last time.
    mutating func cut() -> [Content.Chunk] {
        guard pendingBytes > 0 else { return [] }
        var whole = pending[0]
        for var piece in pending.dropFirst() { whole.writeBuffer(&piece) }
        pending = []
        pendingBytes = 0
        let chunks = Content.chunks(of: whole, messages: [])
        for chunk in chunks { chunkHashes.append(chunk.hash) }
        return chunks
    }

    var digest: Data { Data(hash.finalize()) }
}

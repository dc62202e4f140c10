import AuditProof
import Core
import Crypto
import Foundation
import ModelAPI
import NIOCore

/// What is recorded of a call besides its facts: the bodies as they passed, and what people look for in them.
package enum Content {
    package enum Part: String, Sendable, CaseIterable { case request, answer }
    enum State: String, Sendable { case partial, complete }

    static let emptyHash = Data(SHA256.hash(data: Data()))
    /// Bodies are cut at the first message border behind so many bytes, and anywhere before so many.
    static let leastChunk = 2 << 10
    static let largestChunk = 1 << 20

    struct Chunk: Sendable {
        var hash: Data
        var bytes: ByteBuffer

        init(_ bytes: ByteBuffer) {
            self.bytes = bytes
            hash = bytes.withUnsafeReadableBytes { Data(SHA256.hash(bytes: $0)) }
        }
    }

    /// Cuts a request where messages begin: the chunks of a conversation's past are the same in each of its requests.
    static func chunks(of body: ByteBuffer, messages: [Range<Int>]) -> [Chunk] {
        var chunks: [Chunk] = []
        var start = 0
        func cut(at end: Int) {
            while start < end {
                let length = min(end - start, largestChunk)
                if let piece = body.getSlice(at: body.readerIndex + start, length: length) { chunks.append(Chunk(piece)) }
                start += length
            }
        }
        for message in messages where message.lowerBound - start >= leastChunk { cut(at: message.lowerBound) }
        cut(at: body.readableBytes)
        return chunks
    }

    /// What the prompt's digest covers: the newest text of the user and the tool results that came with it.
    static func promptHash(_ prompt: String?, _ results: [RequestSummary.ToolResult]) -> Data {
        var canonical = Canonical("prompt-1")
        canonical.add(prompt)
        for result in results {
            canonical.add(result.id)
            canonical.add(result.text)
            canonical.add(result.isError)
        }
        return canonical.digest
    }

    struct ToolCall: Sendable, Equatable {
        var id: String
        var name: String
        var input: String
    }

    static func toolsHash(_ calls: [ToolCall]) -> Data {
        if calls.isEmpty { return emptyHash }
        var canonical = Canonical("tools-1")
        for call in calls {
            canonical.add(call.id)
            canonical.add(call.name)
            canonical.add(call.input)
        }
        return canonical.digest
    }
}

extension SHA256 {
    static func hash(bytes: UnsafeRawBufferPointer) -> SHA256.Digest {
        var hash = SHA256()
        hash.update(bufferPointer: bytes)
        return hash.finalize()
    }
}

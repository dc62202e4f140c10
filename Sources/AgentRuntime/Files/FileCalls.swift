import AgentProtocol
import NIOConcurrencyHelpers
import NIOCore

/// File work as the agent asks for it: through a worker, and for writes through the journal.
struct FileCalls: Sendable {
    let workers: FileWorkers
    let processes: ProcessTable
    let pool: BlockingPool

    /// Hands over the info first, then the content piece by piece.
    func read(
        _ path: String, offset: Int64, limit: Int64,
        _ body: @Sendable (FileInfo, FilePieces) async throws -> Void
    ) async throws {
        try await workers.withAnyWorker { link in
            // The answer and the beginning of the content in one go: a small file costs one change of threads, not three.
            let (info, first) = try await pool.run {
                try link.ask(WorkerRequest(operation: .read, path: path, offset: offset, limit: limit))
                let info = try WireJSON.decode(FileInfo.self, from: link.expect(.result))
                return (info, try FilePieces.receive(link, atMost: WorkerFrame.chunk))
            }
            // Once a part is out there is no second beginning.
            do { try await body(info, FilePieces(link: link, pool: pool, first: first, left: limit)) } catch WorkerSocket.Failure
                .closed
            {
                throw WorkerSocket.Failure.malformed
            }
        }
    }

    /// The worker's JSON as it is: testimony of the workload.
    func list(_ path: String, depth: Int, limit: Int) async throws -> ByteBuffer {
        try await single(WorkerRequest(operation: .list, path: path, limit: Int64(limit), depth: depth), patience: 30)
    }

    func search(_ query: SearchQuery) async throws -> ByteBuffer {
        try await single(WorkerRequest(operation: .search, path: query.path, search: query), patience: 15)
    }

    private func single(_ request: WorkerRequest, patience: Int) async throws -> ByteBuffer {
        try await workers.withAnyWorker(patience: patience) { link in
            try await pool.run {
                try link.ask(request)
                return try link.expect(.result)
            }
        }
    }

    /// Replaces a file, at most once per call id.
    ///
    /// The content waits beside its place until all of it is there; then the call is journaled, then the file is put in place.
    func write<Chunks: AsyncSequence & Sendable>(
        _ path: String, call: String, fence: Fence, sandbox: String?, contents: Chunks
    ) async throws -> FileWritten where Chunks.Element == ByteBuffer {
        let isTaken = NIOLockedValueBox(false)
        do {
            guard CallID.isValid(call) else {
                throw AgentFailure(.badRequest, "call: expected 1 to 128 of A-Z a-z 0-9 . _ : @ / -")
            }
            guard CallID.isValid(fence.scope) else { throw ProcessTable.badScope }
            return try await workers.withWorker { link in
                isTaken.withLockedValue { $0 = true }
                let (digest, size) = try await upload(path, contents, to: link)
                // Not structured: once journaled it is carried through, even if whoever asked goes away. Awaited here all the same.
                return try await Task {
                    try await self.place(link, call: call, fence: fence, digest: digest, size: size, sandbox: sandbox)
                }.value
            }
        } catch {
            // A body that nobody reads would keep its sender from ever hearing the answer.
            if !isTaken.withLockedValue({ $0 }) { for try await _ in contents {} }
            throw error
        }
    }

    /// Hands all of it to the worker, which then holds the prepared file. Takes the whole body even if the worker fails.
    private func upload<Chunks: AsyncSequence & Sendable>(
        _ path: String, _ contents: Chunks, to link: WorkerLink
    ) async throws -> (digest: UInt64, size: Int64) where Chunks.Element == ByteBuffer {
        var digest = Digest()
        digest.add(path)
        var size: Int64 = 0
        var failure: (any Error)?
        do { try await pool.run { try link.ask(WorkerRequest(operation: .write, path: path)) } } catch { failure = error }
        for try await chunk in contents where failure == nil {
            chunk.withUnsafeReadableBytes { digest.add($0) }
            size += Int64(chunk.readableBytes)
            var rest = chunk
            do {
                while let piece = rest.readSlice(length: min(rest.readableBytes, WorkerFrame.chunk)), piece.readableBytes > 0 {
                    try await pool.run { try link.socket.send(.data, piece) }
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
        _ = try await pool.run {
            try link.socket.send(.end)
            return try link.expect(.result)
        }
        return (digest.value, size)
    }

    private func place(_ link: WorkerLink, call: String, fence: Fence, digest: UInt64, size: Int64, sandbox: String?) async throws
        -> FileWritten
    {
        let admission = processes.state.withLockedValue {
            processes.admit(&$0.ledger, id: call, kind: .write, fence: fence, digest: digest, sandbox: sandbox)
        }
        switch admission {
        case .new(let entry): return try await commit(link, entry, isSynced: sandbox == nil)
        case .stale(let present): throw ProcessTable.stale(fence, present)
        case .reused:
            throw ProcessTable.reused(call)
        case .known(let entry): return try await repeated(link, entry, size: size)
        }
    }

    private func commit(_ link: WorkerLink, _ entry: CallLedger.Entry, isSynced: Bool) async throws -> FileWritten {
        do {
            try processes.journal.append(.start(entry))
            if isSynced { try await processes.journal.sync() }
        } catch {
            processes.state.withLockedValue { $0.ledger.withdraw(entry.number) }
            try? processes.journal.append(.drop(entry.number))
            throw processes.noSpace(error, "nothing was written")
        }
        do {
            let written = try await pool.run {
                try link.socket.send(.commit)
                return try WireJSON.decode(FileWritten.self, from: link.expect(.result))
            }
            processes.end(
                entry.number, .written(size: written.size, created: written.created), at: wallMilliseconds(), outputBytes: 0)
            return written
        } catch let refusal as WorkerRefusal {
            processes.end(entry.number, .refused(refusal.failure.message), at: wallMilliseconds(), outputBytes: 0)
            throw refusal
        } catch {
            processes.end(entry.number, .unknown, at: wallMilliseconds(), outputBytes: 0)
            throw Self.unknown(entry)
        }
    }

    /// The same call again. One whose end is not known has happened if its content is in place; else nobody can tell.
    private func repeated(_ link: WorkerLink, _ entry: CallLedger.Entry, size: Int64) async throws -> FileWritten {
        switch entry.result {
        case .written(let size, let created):
            link.shutDown()  // it holds a prepared file that is not wanted
            return FileWritten(size: size, created: created)
        case .refused(let reason): throw AgentFailure(.denied, reason)
        case nil: throw AgentFailure(.busy, "The write '\(entry.id)' is under way. Ask again.")
        default:
            let isInPlace = try await pool.run {
                try link.socket.send(.compare)
                return try WireJSON.decode(Bool.self, from: link.expect(.result))
            }
            link.shutDown()
            guard isInPlace else { throw Self.unknown(entry) }
            let written = FileWritten(size: size, created: false)
            processes.end(entry.number, .written(size: size, created: false), at: wallMilliseconds(), outputBytes: 0)
            return written
        }
    }

    private static func unknown(_ entry: CallLedger.Entry) -> AgentFailure {
        AgentFailure(
            .unknownEffect, "The write '\(entry.id)' was begun, and it cannot be known whether it took place. Read the file to see."
        )
    }
}

/// A file's content as the worker sends it, never more than was asked for.
struct FilePieces: AsyncSequence, AsyncIteratorProtocol, Sendable {
    typealias Received = (frames: [ByteBuffer], isOver: Bool)

    let link: WorkerLink
    let pool: BlockingPool
    private var pending: ArraySlice<ByteBuffer>
    private var isOver: Bool
    private var left: Int64

    init(link: WorkerLink, pool: BlockingPool, first: Received, left: Int64) {
        (self.link, self.pool, self.left) = (link, pool, left)
        (pending, isOver) = (first.frames[...], first.isOver)
    }

    /// Frames until the end, or until there are so many bytes.
    static func receive(_ link: WorkerLink, atMost limit: Int) throws -> Received {
        var frames: [ByteBuffer] = []
        var count = 0
        while count < limit {
            let frame = try link.socket.receive()
            switch frame.kind {
            case .data:
                frames.append(frame.payload)
                count += frame.payload.readableBytes
            case .end: return (frames, true)
            default: throw WorkerSocket.Failure.malformed
            }
        }
        return (frames, false)
    }

    func makeAsyncIterator() -> FilePieces { self }

    mutating func next() async throws -> ByteBuffer? {
        while pending.isEmpty {
            if isOver { return nil }
            let link = link
            let received = try await pool.run { try Self.receive(link, atMost: WorkerFrame.chunk) }
            (pending, isOver) = (received.frames[...], received.isOver)
        }
        guard let piece = pending.popFirst() else { return nil }
        left -= Int64(piece.readableBytes)
        guard left >= 0 else { throw WorkerSocket.Failure.malformed }
        return piece
    }
}

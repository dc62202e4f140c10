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
        try await workers.withWorker { link in
            let info = try await pool.run {
                try link.ask(WorkerRequest(operation: .read, path: path, offset: offset, limit: limit))
                return try WireJSON.decode(FileInfo.self, from: link.expect(.result))
            }
            try await body(info, FilePieces(link: link, pool: pool, left: limit))
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
        try await workers.withWorker(patience: patience) { link in
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
        _ path: String, call: String, fence: Fence, contents: Chunks
    ) async throws -> FileWritten where Chunks.Element == ByteBuffer {
        let isTaken = NIOLockedValueBox(false)
        do {
            guard CallID.isValid(call) else { throw AgentFailure(.badRequest, "call: expected 1 to 128 of A-Z a-z 0-9 . _ : @ / -") }
            guard CallID.isValid(fence.scope) else { throw ProcessTable.badScope }
            return try await workers.withWorker { link in
                isTaken.withLockedValue { $0 = true }
                let digest = try await upload(path, contents, to: link)
                // Not structured: once journaled it is carried through, even if whoever asked goes away. Awaited here all the same.
                return try await Task { try await self.place(link, call: call, fence: fence, digest: digest) }.value
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
    ) async throws -> UInt64 where Chunks.Element == ByteBuffer {
        var digest = Digest()
        digest.add(path)
        var failure: (any Error)?
        do { try await pool.run { try link.ask(WorkerRequest(operation: .write, path: path)) } } catch { failure = error }
        for try await chunk in contents where failure == nil {
            chunk.withUnsafeReadableBytes { digest.add($0) }
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
        return digest.value
    }

    private func place(_ link: WorkerLink, call: String, fence: Fence, digest: UInt64) async throws -> FileWritten {
        let admission = processes.state.withLockedValue {
            $0.ledger.admit(id: call, kind: .write, fence: fence, digest: digest, now: wallMilliseconds())
        }
        switch admission {
        case .new(let entry): return try await commit(link, entry)
        case .stale(let present): throw ProcessTable.stale(fence, present)
        case .reused:
            throw AgentFailure(.callReused, "The call id '\(call)' belongs to another call. Use a new id for a new call.")
        case .known(let entry): return try await repeated(link, entry)
        }
    }

    private func commit(_ link: WorkerLink, _ entry: CallLedger.Entry) async throws -> FileWritten {
        do {
            try processes.journal.append(.start(entry))
            try await processes.journal.sync()
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
    private func repeated(_ link: WorkerLink, _ entry: CallLedger.Entry) async throws -> FileWritten {
        switch entry.result {
        case .written(let size, let created):
            link.shutDown()
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
            let written = FileWritten(size: 0, created: false)
            return written
        }
    }

    private static func unknown(_ entry: CallLedger.Entry) -> AgentFailure {
        AgentFailure(
            .unknownEffect, "The write '\(entry.id)' was begun, and it cannot be known whether it took place. Read the file to see.")
    }
}

/// A file's content as the worker sends it, never more than was asked for.
struct FilePieces: AsyncSequence, AsyncIteratorProtocol, Sendable {
    let link: WorkerLink
    let pool: BlockingPool
    var left: Int64
    private var isOver = false

    init(link: WorkerLink, pool: BlockingPool, left: Int64) { (self.link, self.pool, self.left) = (link, pool, left) }

    func makeAsyncIterator() -> FilePieces { self }

    mutating func next() async throws -> ByteBuffer? {
        if isOver { return nil }
        let link = link
        let frame = try await pool.run { try link.socket.receive() }
        switch frame.kind {
        case .data where Int64(frame.payload.readableBytes) <= left:
            left -= Int64(frame.payload.readableBytes)
            return frame.payload
        case .end:
            isOver = true
            return nil
        default: throw WorkerSocket.Failure.malformed
        }
    }
}

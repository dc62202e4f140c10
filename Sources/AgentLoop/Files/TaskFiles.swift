import Core
import Crypto
import Foundation
import Postgres

/// Bundles and diffs in the database, in chunks, so that they outlive the workspace; neither side ever holds a whole one in memory.
package struct TaskFiles: Sendable {
    package static let chunkBytes = 1 << 20

    package struct Stored: Sendable {
        package var id: UUID
        package var size: Int
        package var hash: Data
    }

    private let pool: PostgresPool
    private let largest: Int
    private let tooLarge: AppError

    /// - Parameters:
    ///   - largest: bytes of the largest file that is stored.
    ///   - tooLarge: what is thrown for a larger one; nil: it is said of a task's result.
    package init(_ pool: PostgresPool, largest: Int = 1 << 30, tooLarge: AppError? = nil) {
        self.pool = pool
        self.largest = largest
        self.tooLarge =
            tooLarge
            ?? AppError(
                .tooLarge,
                "The result is larger than the \(largest >> 20) MiB that this server stores; its operator can raise --max-upload.",
                field: "file")
    }

    /// Stores a file for its owner. Either the whole file is there afterwards, or nothing of it.
    ///
    /// - Throws: `tooLarge`, and what the chunks throw.
    package func save(
        organization: OrganizationID, owner: UserID, contentType: String, chunks: some AsyncSequence<Data, any Error>
    ) async throws -> Stored {
        let id = UUID()
        try await pool.execute(
            """
            INSERT INTO files (id, organization_id, owner_id, content_type)
            VALUES (\(id), \(organization), \(owner), \(contentType))
            """)
        do {
            var writer = Writer(pool: pool, file: id)
            for try await chunk in chunks {
                guard writer.size + chunk.count <= largest else { throw tooLarge }
                try await writer.add(chunk)
            }
            return Stored(id: id, size: writer.size, hash: try await writer.finish())
        } catch {
            await remove(id)
            throw error
        }
    }

    /// Also in a task that was cancelled.
    package func remove(_ file: UUID) async {
        // Awaited here, and not cancelled with the caller.
        await Task { [pool] in _ = try? await pool.execute("DELETE FROM files WHERE id = \(file)") }.value
    }

    package func save(organization: OrganizationID, owner: UserID, contentType: String, data: Data) async throws -> Stored {
        let chunks = AsyncThrowingStream<Data, any Error> { continuation in
            continuation.yield(data)
            continuation.finish()
        }
        return try await save(organization: organization, owner: owner, contentType: contentType, chunks: chunks)
    }

    /// Nil when there is no such file, or when it was never finished.
    package func size(of file: UUID) async throws -> Int? {
        try await pool.query("SELECT size FROM files WHERE id = \(file) AND hash IS NOT NULL").first?["size"]
    }

    /// One chunk; nil behind the last.
    package func chunk(_ n: Int, of file: UUID) async throws -> Data? {
        try await pool.query("SELECT data FROM file_chunks WHERE file_id = \(file) AND n = \(Int32(n))").first?["data"]
    }

    package func data(of file: UUID) async throws -> Data? {
        guard try await size(of: file) != nil else { return nil }
        var data = Data()
        var n = 0
        while let chunk = try await chunk(n, of: file) {
            data += chunk
            n += 1
        }
        return data
    }

    private struct Writer {
        let pool: PostgresPool
        let file: UUID
        var pending = Data()
        var next: Int32 = 0
        var size = 0
        var digest = SHA256()

        mutating func add(_ data: Data) async throws {
            size += data.count
            digest.update(data: data)
            pending += data
            while pending.count >= TaskFiles.chunkBytes {
                try await store(Data(pending.prefix(TaskFiles.chunkBytes)))
                pending = Data(pending.dropFirst(TaskFiles.chunkBytes))
            }
        }

        /// - Returns: the hash of the whole.
        mutating func finish() async throws -> Data {
            if !pending.isEmpty { try await store(pending) }
            let hash = Data(digest.finalize())
            try await pool.execute("UPDATE files SET hash = \(hash), size = \(size) WHERE id = \(file)")
            return hash
        }

        private mutating func store(_ chunk: Data) async throws {
            try await pool.execute("INSERT INTO file_chunks (file_id, n, data) VALUES (\(file), \(next), \(chunk))")
            next += 1
        }
    }
}

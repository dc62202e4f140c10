import Core
import Crypto
import Foundation
import Postgres

/// Bundles and diffs in the database, in chunks, so that they outlive the workspace.
package struct TaskFiles: Sendable {
    package static let chunkBytes = 1 << 20

    private let pool: PostgresPool
    private let largest: Int

    /// - Parameter largest: bytes of the largest file that is stored.
    package init(_ pool: PostgresPool, largest: Int = 1 << 30) {
        self.pool = pool
        self.largest = largest
    }

    /// Stores a file for its owner. Either the whole file is there afterwards, or nothing of it.
    ///
    /// - Throws: `tooLarge`.
    package func save(
        organization: OrganizationID, owner: UserID, contentType: String, chunks: some AsyncSequence<Data, any Error>
    ) async throws -> UUID {
        let id = UUID()
        try await pool.execute(
            """
            INSERT INTO files (id, organization_id, owner_id, content_type)
            VALUES (\(id), \(organization), \(owner), \(contentType))
            """)
        do {
            var writer = Writer(pool: pool, file: id, largest: largest)
            for try await chunk in chunks { try await writer.add(chunk) }
            try await writer.finish()
        } catch {
            _ = try? await pool.execute("DELETE FROM files WHERE id = \(id)")
            throw error
        }
        return id
    }

    package func save(organization: OrganizationID, owner: UserID, contentType: String, data: Data) async throws -> UUID {
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
        let largest: Int
        var pending = Data()
        var next: Int32 = 0
        var size = 0
        var digest = SHA256()

        mutating func add(_ data: Data) async throws {
            size += data.count
            guard size <= largest else {
                throw AppError(
                    .tooLarge,
                    "The result is larger than the \(largest >> 20) MiB that this server stores; its operator can raise --max-upload.",
                    field: "file")
            }
            digest.update(data: data)
            pending += data
            while pending.count >= TaskFiles.chunkBytes {
                try await store(Data(pending.prefix(TaskFiles.chunkBytes)))
                pending = Data(pending.dropFirst(TaskFiles.chunkBytes))
            }
        }

        mutating func finish() async throws {
            if !pending.isEmpty { try await store(pending) }
            let hash = Data(digest.finalize())
            try await pool.execute("UPDATE files SET hash = \(hash), size = \(size) WHERE id = \(file)")
        }

        private mutating func store(_ chunk: Data) async throws {
            try await pool.execute("INSERT INTO file_chunks (file_id, n, data) VALUES (\(file), \(next), \(chunk))")
            next += 1
        }
    }
}

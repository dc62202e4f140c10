import Core
import Crypto
import Foundation
import Logging
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

    /// How much its owner's files may hold that no task names, this one with what it announces included.
    package struct Room: Sendable {
        package var most: Int
        package var announced: Int
        /// What is thrown when there is no room, by what the others hold.
        package var full: @Sendable (Int) -> AppError

        package init(most: Int, announced: Int, full: @escaping @Sendable (Int) -> AppError) {
            self.most = most
            self.announced = announced
            self.full = full
        }
    }

    /// Stores a file for its owner. Either the whole file is there afterwards, or nothing of it.
    ///
    /// - Throws: `tooLarge`, and what the chunks throw.
    package func save(
        organization: OrganizationID, owner: UserID, contentType: String, room: Room? = nil,
        chunks: some AsyncSequence<Data, any Error>
    ) async throws -> Stored {
        let id = UUID()
        do {
            try await pool.withTransaction { connection in
                if let room { try await Self.check(room, organization, owner, connection) }
                try await connection.execute(
                    """
                    INSERT INTO files (id, organization_id, owner_id, content_type, size)
                    VALUES (\(id), \(organization), \(owner), \(contentType), \(room?.announced))
                    """)
            }
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

    /// Uploads that are under way count with what they announced.
    private static func check(_ room: Room, _ organization: OrganizationID, _ owner: UserID, _ connection: PostgresConnection)
        async throws
    {
        // One upload of somebody begins after the other, lest they overlook each other.
        _ = try await connection.query("SELECT id FROM users WHERE id = \(owner) FOR NO KEY UPDATE")
        let held: Int = try await connection.query(
            """
            SELECT COALESCE(sum(f.size), 0)::bigint AS held FROM files f
            WHERE f.organization_id = \(organization) AND f.owner_id = \(owner) AND \(unsafeSQL: unused)
            """)[0]["held"]
        guard held + room.announced <= room.most else { throw room.full(held) }
    }

    /// SQL for a file `f` that no task names.
    private static let unused = """
        NOT EXISTS (SELECT FROM tasks t WHERE t.input_file = f.id) AND NOT EXISTS (SELECT FROM tasks t WHERE t.result_bundle = f.id)
        AND NOT EXISTS (SELECT FROM tasks t WHERE t.result_diff = f.id)
        """

    /// Removes files that are older than a day and that no task names: uploads that led to nothing, and what a server that died left
    /// half-written. Any number of servers may do it at the same time.
    ///
    /// - Returns: how many, at most 100; then there may be more.
    package func removeUnused() async throws -> Int {
        try await pool.execute(
            """
            DELETE FROM files WHERE id IN (
                SELECT f.id FROM files f WHERE f.created_at < now() - interval '1 day' AND \(unsafeSQL: Self.unused)
                ORDER BY f.created_at LIMIT 100 FOR UPDATE SKIP LOCKED)
            """)
    }

    /// Removes them every hour until it is cancelled.
    package func keepTidy(_ logger: Logger) async {
        while !Task.isCancelled {
            do {
                var removed = 0
                while true {
                    let count = try await removeUnused()
                    removed += count
                    if count < 100 { break }
                }
                if removed > 0 { logger.info("Removed \(removed) files that no task uses.") }
            } catch is CancellationError { return } catch {
                logger.warning("Files that no task uses could not be removed.", metadata: ["error": "\(error)"])
            }
            try? await Task.sleep(for: .seconds(3600))
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

    /// The beginning of a file, and whether there is more.
    package func beginning(of file: UUID, upTo limit: Int) async throws -> (data: Data, isCut: Bool)? {
        guard let size = try await size(of: file) else { return nil }
        var data = Data()
        var n = 0
        while data.count < limit, let chunk = try await chunk(n, of: file) {
            data += chunk.prefix(limit - data.count)
            n += 1
        }
        return (data, size > data.count)
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

import Core
import Crypto
import Foundation
import NIOCore
import Postgres

/// Uploaded files as chunks in the database; neither side ever holds a whole one in memory.
package struct FileStore: Sendable {
    static let chunkBytes = 1 << 20

    let pool: PostgresPool
    /// Bytes of the largest file that is taken.
    let largest: Int

    package init(pool: PostgresPool, largest: Int) {
        self.pool = pool
        self.largest = largest
    }

    package struct Record: Sendable {
        package var id: UUID
        package var size: Int
        package var hash: Data
        package var contentType: String
    }

    private var tooLarge: AppError {
        AppError(
            .tooLarge,
            "The file is larger than the \(ByteCount(largest)) that this server takes; its operator can raise --max-upload.",
            field: "body")
    }

    /// Reads `body` to its end. A file that was cut off leaves nothing behind.
    ///
    /// - Parameter announced: how long it says it will be; one that is too long is refused before it is read.
    /// - Throws: `tooLarge`, and what the body throws.
    package func write(
        _ principal: Principal, contentType: String, announced: Int? = nil,
        _ body: some AsyncSequence<ByteBuffer, any Error> & Sendable
    ) async throws -> Record {
        if let announced, announced > largest { throw tooLarge }
        let id = ID<Nouns.Session>().uuid
        try await pool.execute(
            """
            INSERT INTO files (id, organization_id, owner_id, content_type)
            VALUES (\(id), \(principal.organization), \(principal.user), \(contentType))
            """)
        do {
            var hash = SHA256()
            var size = 0
            var number = 0
            var chunk = Data()
            for try await part in body {
                size += part.readableBytes
                guard size <= largest else { throw tooLarge }
                chunk.append(contentsOf: part.readableBytesView)
                while chunk.count >= Self.chunkBytes {
                    let full = Data(chunk.prefix(Self.chunkBytes))
                    hash.update(data: full)
                    try await insert(id, number, full)
                    number += 1
                    chunk = Data(chunk.dropFirst(Self.chunkBytes))
                }
            }
            guard size > 0 else { throw AppError(.badRequest, "The file is empty.", field: "body") }
            if !chunk.isEmpty {
                hash.update(data: chunk)
                try await insert(id, number, chunk)
            }
            let digest = Data(hash.finalize())
            try await pool.execute("UPDATE files SET hash = \(digest), size = \(size) WHERE id = \(id)")
            return Record(id: id, size: size, hash: digest, contentType: contentType)
        } catch {
            // Cancellation has reached this task; the clean-up must not be cancelled with it.
            await Task { [pool] in _ = try? await pool.execute("DELETE FROM files WHERE id = \(id)") }.value
            throw error
        }
    }

    private func insert(_ id: UUID, _ number: Int, _ data: Data) async throws {
        try await pool.execute("INSERT INTO file_chunks (file_id, n, data) VALUES (\(id), \(Int32(number)), \(data))")
    }

    /// Own files only.
    /// - Throws: `notFound`.
    package func find(_ principal: Principal, _ id: UUID) async throws -> Record {
        let rows = try await pool.query(
            """
            SELECT size, hash, content_type FROM files
            WHERE organization_id = \(principal.organization) AND owner_id = \(principal.user) AND id = \(id) AND hash IS NOT NULL
            """)
        guard let row = rows.first else { throw AppError(.notFound, "There is no file \(ID<Nouns.Session>(id)).", field: "file") }
        return Record(
            id: id, size: Int(try row["size", as: Int64.self]), hash: try row["hash"], contentType: try row["content_type"])
    }

    /// Hands the chunks out in order.
    package func read(_ id: UUID, _ take: (Data) async throws -> Void) async throws {
        var number: Int32 = 0
        while let row = try await pool.query("SELECT data FROM file_chunks WHERE file_id = \(id) AND n = \(number)").first {
            try await take(try row["data"])
            number += 1
        }
    }
}

import AgentLoop
import Core
import Foundation
import Logging
import NIOCore
import Postgres

/// Files that people upload for tasks: the rules around `TaskFiles`, which stores them.
package struct FileStore: Sendable {
    private let pool: PostgresPool
    private let largest: Int
    /// Bytes of what somebody uploaded and no task names yet.
    private let mostUnused: Int
    private let files: TaskFiles
    private let tooLarge: AppError

    /// - Parameters:
    ///   - largest: bytes of the largest file that is taken.
    ///   - mostUnused: bytes that files of one owner may have together before a task names them; nil: four GiB, or four of the largest.
    package init(pool: PostgresPool, largest: Int, mostUnused: Int? = nil) {
        self.pool = pool
        self.largest = largest
        self.mostUnused = mostUnused ?? max(4 << 30, 4 * largest)
        tooLarge = AppError(
            .tooLarge,
            "The file is larger than the \(ByteCount(largest)) that this server takes; its operator can raise --max-upload.",
            field: "body")
        files = TaskFiles(pool, largest: largest, tooLarge: tooLarge)
    }

    package struct Record: Sendable {
        package var id: UUID
        package var size: Int
        package var hash: Data
        package var contentType: String
    }

    /// Reads `body` to its end. A file that was cut off leaves nothing behind.
    ///
    /// - Parameter announced: how long it says it will be; one that is too long is refused before it is read.
    /// - Throws: `tooLarge`; `conflict` when too much waits to be used; what the body throws.
    package func write(
        _ principal: Principal, contentType: String, announced: Int? = nil,
        _ body: some AsyncSequence<ByteBuffer, any Error> & Sendable
    ) async throws -> Record {
        if let announced, announced > largest { throw tooLarge }
        let file = try await files.save(
            organization: principal.organization, owner: principal.user, contentType: contentType,
            room: .init(most: mostUnused, announced: announced ?? largest, full: full),
            chunks: body.map { Data($0.readableBytesView) })
        guard file.size > 0 else {
            await files.remove(file.id)
            throw AppError(.badRequest, "The file is empty.", field: "body")
        }
        return Record(id: file.id, size: file.size, hash: file.hash, contentType: contentType)
    }

    private func full(_ held: Int) -> AppError {
        AppError(
            .conflict,
            "Your uploads that no task uses hold \(ByteCount(held)); with this one they would hold more than the \(ByteCount(mostUnused)) that this server keeps for you. Use them in tasks, or wait: each is removed a day after it came.",
            field: "body")
    }

    /// Removes in the background what no task came to use.
    package func keepTidy(_ logger: Logger) async { await files.keepTidy(logger) }

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
        var number = 0
        while let chunk = try await files.chunk(number, of: id) {
            try await take(chunk)
            number += 1
        }
    }
}

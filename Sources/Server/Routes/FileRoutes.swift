import API
import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// `/api/v2/files`: git bundles on their way to a task.
struct FileRoutes: Sendable {
    let files: FileStore

    func register(on table: RouteTable) {
        table.on(.post, APIPaths.files, .uploadFile, upload)
        table.on(.get, APIPaths.files + "/{file}", .readFile, download)
    }

    @Sendable func upload(_ call: Call) async throws -> Response {
        let type = call.incoming.header(.contentType) ?? "application/octet-stream"
        let announced = call.incoming.header(.contentLength).flatMap { Int($0) }
        let file = try await files.write(call.principal, contentType: type, announced: announced, call.incoming.request.body)
        let id = file.id.uuidString.lowercased()
        return try .json(UploadedFile(id: id, hash: file.hash.hex, size: Int64(file.size)), status: .created)
    }

    @Sendable func download(_ call: Call) async throws -> Response {
        let id = try call.incoming.id("file", of: ID<Nouns.Session>.self).uuid
        let file = try await files.find(call.principal, id)
        return Response(
            status: .ok, headers: [.contentType: "application/octet-stream", .contentDisposition: "attachment"],
            body: ResponseBody(contentLength: file.size) { [files] writer in
                var sink = writer
                try await files.read(id) { try await sink.write(ByteBuffer(bytes: $0)) }
                try await sink.finish(nil)
            })
    }
}

import API
import Core
import Foundation
import HTTPTransport
import Logging
import NIOCore
import NIOFoundationCompat

/// Calls of the server's API: JSON in, JSON out, errors as `Failure`.
struct APIClient: Sendable {
    let url: String
    let token: String?
    /// PEM certificates to trust instead of the system's; nil: the system's.
    let caFile: String?
    private let transport: HTTPTransport

    init(url: String, token: String?, caFile: String? = nil) throws {
        var url = url
        while url.hasSuffix("/") { url.removeLast() }
        guard url.hasPrefix("http://") || url.hasPrefix("https://"), let parts = URL(string: url), parts.host != nil else {
            throw Failure(
                .usage, "'\(url)' is no address of a server.",
                hint: "It looks like http://127.0.0.1:7990 or https://slipway.example.com.")
        }
        guard parts.path().isEmpty, parts.query() == nil else {
            throw Failure(
                .usage, "'\(url)' is the address of a page, not of a server.",
                hint: "Leave out what follows the host and port.")
        }
        self.url = url
        self.token = token
        self.caFile = caFile
        if let caFile, !FileManager.default.isReadableFile(atPath: caFile) {
            throw Failure(
                .failed, "The CA file \(caFile) is not there or cannot be read.", hint: "Name it with --ca-file or SLIPWAY_CA_FILE."
            )
        }
        transport = HTTPTransport(logger: Logger(label: "slipway", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    // MARK: JSON

    func get<Answer: Decodable>(_ path: String, query: [(String, String?)] = [], wait: Duration = .zero) async throws -> Answer {
        try decode(try await bytes("GET", path, query: query, timeout: .seconds(60) + wait))
    }

    func post<Answer: Decodable>(_ path: String, _ body: some Encodable, timeout: Duration = .seconds(120)) async throws -> Answer {
        try decode(try await bytes("POST", path, body: try encode(body), timeout: timeout))
    }

    func put<Answer: Decodable>(_ path: String, _ body: some Encodable) async throws -> Answer {
        try decode(try await bytes("PUT", path, body: try encode(body)))
    }

    func patch<Answer: Decodable>(_ path: String, _ body: some Encodable) async throws -> Answer {
        try decode(try await bytes("PATCH", path, body: try encode(body)))
    }

    /// A call whose answer does not matter.
    func send(_ method: String, _ path: String, _ body: (any Encodable)? = nil) async throws {
        _ = try await bytes(method, path, body: try body.map { try encode($0) }, timeout: .seconds(120))
    }

    /// JSON that is no value of ours, as it is.
    func exchange(_ path: String, _ json: Data, timeout: Duration) async throws -> Data {
        Data(buffer: try await bytes("POST", path, body: ByteBuffer(data: json), timeout: timeout))
    }

    // MARK: Bytes

    /// Hands the answer's body out as it comes; of a large one no more is held than a piece.
    func download(_ path: String, query: [(String, String?)] = [], _ take: (Data) throws -> Void) async throws {
        let response = try await answer("GET", path, query: query, timeout: .seconds(60))
        for try await piece in response.body { try take(Data(buffer: piece)) }
    }

    /// Sends a file as it lies on the disk.
    func upload<Answer: Decodable>(_ path: String, _ file: UploadFile) async throws -> Answer {
        let response = try await answer(
            "POST", path, file: file, contentType: "application/octet-stream", timeout: .seconds(60))
        return try decode(try await response.body.collect(upTo: 1 << 20))
    }

    /// Sends a file as the body and reads a JSON answer, of a file of prices a long one.
    func send<Answer: Decodable>(file path: String, to route: String, query: [(String, String?)]) async throws -> Answer {
        let response = try await answer(
            "POST", route, query: query, file: try UploadFile(path: path), contentType: "application/octet-stream",
            timeout: .seconds(120))
        return try decode(try await response.body.collect(upTo: 64 << 20))
    }

    private func bytes(
        _ method: String, _ path: String, query: [(String, String?)] = [], body: ByteBuffer? = nil,
        timeout: Duration = .seconds(60)
    ) async throws -> ByteBuffer {
        try await answer(method, path, query: query, body: body, timeout: timeout).body.collect(upTo: 64 << 20)
    }

    /// An answer that says yes.
    ///
    /// - Throws: `Failure` with the server's words.
    private func answer(
        _ method: String, _ path: String, query: [(String, String?)] = [], body: ByteBuffer? = nil, file: UploadFile? = nil,
        contentType: String = "application/json", timeout: Duration
    ) async throws -> HTTPClientResponse {
        // An empty name would make it another route's path.
        guard !path.contains("//"), !path.hasSuffix("/") else {
            throw Failure(.failed, "A name or id is empty.", hint: "Give one that the 'list' command shows.")
        }
        var headers: [(name: String, value: String)] = [("accept", "application/json"), ("user-agent", "slipway/0.1.0")]
        if body != nil || file != nil { headers.append(("content-type", contentType)) }
        if let token { headers.append(("authorization", "Bearer \(token)")) }
        var request = HTTPClientRequest(
            method: method, url: url + path + Self.text(of: query), headers: headers, body: body, file: file,
            timeouts: .init(firstByte: timeout, idle: .seconds(60)), allowPrivateAddresses: true, caFile: caFile)
        if file != nil { request.mayBeSentAgain = true }  // a second copy does nothing by itself
        let response: HTTPClientResponse
        do {
            response = try await transport.send(request)
        } catch let error as AppError where error.source == .upstream || error.code == .unavailable {
            let isTrust = error.message.contains("is not trusted")
            var failure = Failure(
                .unreachable, "No answer from \(url): \(error.message)",
                hint: isTrust
                    ? "Name the file of your own authority with --ca-file or SLIPWAY_CA_FILE."
                    : "Is the server running there? See 'slipway server --help'.")
            failure.mayPass = !isTrust
            throw failure
        }
        guard (200..<300).contains(response.status) else {
            let text = try await response.body.collect(upTo: 1 << 20)
            var failure = Failure(
                status: response.status, body: try? APICoding.decoder().decode(ErrorResponse.self, from: Data(buffer: text)))
            if response.status == 401, token != nil, token == ProcessInfo.processInfo.environment["SLIPWAY_TOKEN"] {
                failure.hint = "The token is the one in SLIPWAY_TOKEN: replace it, or unset it to use where you signed in."
            }
            throw failure
        }
        return response
    }

    private func encode(_ value: any Encodable) throws -> ByteBuffer { ByteBuffer(data: try APICoding.encoder().encode(value)) }

    private func decode<Answer: Decodable>(_ bytes: ByteBuffer) throws -> Answer {
        do {
            return try APICoding.decoder().decode(Answer.self, from: Data(buffer: bytes))
        } catch {
            throw Failure(
                .failed, "The server's answer was not understood: \(error)", hint: "Are client and server of the same version?")
        }
    }

    private static func text(of query: [(String, String?)]) -> String {
        let set = query.compactMap { name, value in value.map { "\(name)=\(escape($0))" } }
        return set.isEmpty ? "" : "?" + set.joined(separator: "&")
    }

    /// For one segment of a path or one value of a query.
    static func escape(_ text: String) -> String {
        text.addingPercentEncoding(
            withAllowedCharacters: CharacterSet(charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"))
            ?? text
    }
}

import CCurl
import Core

/// Where a request goes, read by the same parser that will connect to it.
struct RequestTarget: Sendable {
    var host: String
    var port: String
    var unixSocket: String?

    /// How errors name the other side: `api.example.com:443`, or the path of the socket.
    var name: String { unixSocket.map { "the unix socket \($0)" } ?? "\(host):\(port)" }
}

extension HTTPClientRequest {
    /// Refuses what could not be sent as it stands, or would be sent as something else than the caller meant (header injection).
    ///
    /// - Throws: `bad_request` or `too_large`, naming the field.
    func checkedTarget() throws -> RequestTarget {
        guard !method.isEmpty, method.utf8.allSatisfy(isTokenByte) else {
            throw AppError(.badRequest, "\"\(method)\" is not an HTTP method: expected a word such as GET or POST", field: "method")
        }
        for (name, value) in headers {
            guard !name.isEmpty, name.utf8.allSatisfy(isTokenByte) else {
                throw AppError(
                    .badRequest, "\"\(name)\" is not a header name: expected letters, digits and hyphens", field: "headers")
            }
            guard value.utf8.allSatisfy({ $0 == 9 || ($0 >= 32 && $0 != 127) }) else {
                throw AppError(.badRequest, "the value of header \(name) contains a control character", field: "headers")
            }
        }
        if body != nil, file != nil {
            throw AppError(.badRequest, "a request has one body: held bytes or a file", field: "body")
        }
        if let size = body?.readableBytes, size > Self.maxBodyBytes {
            throw AppError(.tooLarge, "the request body has \(size) bytes; at most \(Self.maxBodyBytes) are sent", field: "body")
        }
        return try target()
    }

    private func target() throws -> RequestTarget {
        guard let parts = curl_url() else { throw AppError(.internal, "out of memory while reading a URL") }
        defer { curl_url_cleanup(parts) }
        let status =
            url.utf8.contains(where: { $0 <= 32 || $0 == 127 })
            ? CURLUE_MALFORMED_INPUT : curl_url_set(parts, CURLUPART_URL, url, 0)
        guard status == CURLUE_OK else {
            throw AppError(
                .badRequest, "\"\(url)\" is not a URL (\(String(cString: curl_url_strerror(status)))): expected https://host/path",
                field: "url")
        }
        func part(_ which: CURLUPart, _ flags: UInt32 = 0) -> String? {
            var text: UnsafeMutablePointer<CChar>?
            guard curl_url_get(parts, which, &text, flags) == CURLUE_OK, let text else { return nil }
            defer { curl_free(text) }
            return String(cString: text)
        }
        let scheme = part(CURLUPART_SCHEME) ?? ""
        guard scheme == "http" || scheme == "https", let host = part(CURLUPART_HOST) else {
            throw AppError(.badRequest, "the URL \"\(url)\" has the scheme \"\(scheme)\": expected http or https", field: "url")
        }
        guard part(CURLUPART_USER) == nil, part(CURLUPART_PASSWORD) == nil else {
            throw AppError(
                .badRequest, "the URL of host \(host) contains a user or password: send credentials as a header", field: "url")
        }
        let port = part(CURLUPART_PORT, UInt32(CURLU_DEFAULT_PORT)) ?? (scheme == "https" ? "443" : "80")
        return RequestTarget(host: host, port: port, unixSocket: unixSocket)
    }
}

/// RFC 9110 §5.6.2.
private func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
    case UInt8(ascii: "!"), UInt8(ascii: "#")...UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"),
        UInt8(ascii: "."), UInt8(ascii: "^")...UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
        true
    default: false
    }
}

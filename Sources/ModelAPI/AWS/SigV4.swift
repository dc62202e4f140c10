import Core
import Crypto

/// Amazon's Signature Version 4, in headers.
///
/// Sign last: any later change of path, query, signed header or body makes the signature wrong.
/// The rule: AWS General Reference, "Create a signed AWS API request".
package struct SigV4: Sendable {
    package var credentials: AWSCredentials
    /// E.g. `eu-central-1`.
    package var region: String
    /// E.g. `bedrock`.
    package var service: String

    package init(credentials: AWSCredentials, region: String, service: String) {
        self.credentials = credentials
        self.region = region
        self.service = service
    }

    /// - Parameters:
    ///   - path: as it goes over the wire, percent-encoded, without a query.
    ///   - query: as it goes over the wire, without `?`.
    ///   - headers: those that are signed; must hold `host`, and nothing that a proxy changes.
    ///   - bodyHash: SHA-256 of the body.
    ///   - seconds: now, since 1970; Amazon takes five minutes of difference.
    /// - Returns: the headers to add: `x-amz-date`, `x-amz-security-token` with temporary credentials, `authorization`.
    package func headers(
        method: String, path: String, query: String = "", headers: [(name: String, value: String)], bodyHash: SHA256.Digest,
        seconds: Int
    ) -> [(name: String, value: String)] {
        let time = AWSTime(seconds: seconds)
        var added = [(name: "x-amz-date", value: time.text)]
        if let token = credentials.sessionToken { added.append((name: "x-amz-security-token", value: token.reveal())) }
        let canonical = Self.canonicalHeaders(headers + added)
        let names = canonical.map(\.name).joined(separator: ";")
        let request = [
            method, Self.canonicalPath(path), Self.canonicalQuery(query),
            canonical.map { "\($0.name):\($0.value)\n" }.joined(), names, Self.hex(bodyHash),
        ].joined(separator: "\n")
        let scope = "\(time.day)/\(region)/\(service)/aws4_request"
        let text = ["AWS4-HMAC-SHA256", time.text, scope, Self.hex(SHA256.hash(data: Array(request.utf8)))].joined(separator: "\n")
        let signature = Self.hex(Self.mac(key(day: time.day), text))
        added.append(
            (
                name: "authorization",
                value:
                    "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope), SignedHeaders=\(names), Signature=\(signature)"
            ))
        return added
    }

    /// Good for one day, region and service.
    private func key(day: String) -> SymmetricKey {
        let first = SymmetricKey(data: Array("AWS4\(credentials.secretAccessKey.reveal())".utf8))
        return [day, region, service, "aws4_request"].reduce(first) { SymmetricKey(data: Array(Self.mac($0, $1))) }
    }

    private static func mac(_ key: SymmetricKey, _ text: String) -> HMAC<SHA256>.MAC {
        HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key)
    }

    // MARK: The canonical request

    /// Names in lower case and in order, values without white space around and doubled inside; the same name's values are one.
    private static func canonicalHeaders(_ headers: [(name: String, value: String)]) -> [(name: String, value: String)] {
        var values: [String: [String]] = [:]
        for header in headers {
            let words = header.value.split { $0 == " " || $0 == "\t" }
            values[header.name.lowercased(), default: []].append(words.joined(separator: " "))
        }
        return values.map { (name: $0.key, value: $0.value.joined(separator: ",")) }.sorted { $0.name < $1.name }
    }

    /// The wire's path with each segment encoded once more, as all services but S3 want it.
    private static func canonicalPath(_ path: String) -> String {
        path.isEmpty ? "/" : AWSPath.encoded(path, keepsSlashes: true)
    }

    private static func canonicalQuery(_ query: String) -> String {
        query.split(separator: "&").map { item -> (String, String) in
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
        }
        .sorted { $0 < $1 }.map { "\($0.0)=\($0.1)" }.joined(separator: "&")
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}

/// Paths of Bedrock's runtime.
package enum AWSPath {
    package enum Action: String, Sendable {
        case invoke
        case invokeStream = "invoke-with-response-stream"
        case converse
        case converseStream = "converse-stream"
        case countTokens = "count-tokens"
    }

    /// - Parameter model: an id or an ARN, exactly the one that was asked for.
    package static func bedrock(_ action: Action, model: String) -> String {
        "/model/\(encoded(model, keepsSlashes: false))/\(action.rawValue)"
    }

    /// RFC 3986: everything but unreserved characters.
    static func encoded(_ text: String, keepsSlashes: Bool) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "~"):
                bytes.append(byte)
            case UInt8(ascii: "/") where keepsSlashes: bytes.append(byte)
            default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

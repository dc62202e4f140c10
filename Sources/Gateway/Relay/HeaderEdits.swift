import Core

/// What changes in headers on their way, and nothing else does: names here are the whole list.
enum HeaderEdits {
    /// Of one connection only (RFC 9110, 7.6.1), and what the transport sets itself.
    private static let hopByHop: Set<String> = [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding",
        "upgrade", "host", "content-length", "expect",
    ]

    /// Credentials of Slipway itself, and what browsers and proxies add.
    private static let ours: Set<String> = [
        "authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "coder-session-token", "slipway-session-token",
        "accept-encoding",
        "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "x-request-id", "x-slipway-task-id",
        "x-slipway-class", "x-slipway-tools", "idempotency-key",
        // What they choose is not ours to pass on: see GeminiQuery.
        "x-goog-fieldmask", "x-http-method-override",
        // Whom a provider may tell what of our traces is said by its settings (`TraceHeaders`).
        "traceparent", "tracestate", "baggage",
    ]

    static func upstream(_ headers: [(name: String, value: String)], key: Secret<String>, type: ProviderType) -> [(
        name: String, value: String
    )] {
        let named = connectionHeaders(headers)
        var result: [(name: String, value: String)] = []
        result.reserveCapacity(headers.count + 2)
        for header in headers {
            let name = header.name.lowercased()
            if hopByHop.contains(name) || ours.contains(name) || named.contains(name) { continue }
            result.append(header)
        }
        if !key.reveal().isEmpty { result.append(type.authentication(key.reveal())) }
        result.append((name: "accept-encoding", value: "identity"))
        return result
    }

    static func client(_ headers: [(name: String, value: String)], interception: InterceptionID) -> [(name: String, value: String)]
    {
        let named = connectionHeaders(headers)
        var result = headers.filter { header in
            let name = header.name.lowercased()
            return !hopByHop.contains(name) && name != "set-cookie" && name != "x-slipway-interception-id" && !named.contains(name)
        }
        result.append((name: "x-slipway-interception-id", value: interception.description))
        return result
    }

    /// Further headers that `Connection` says are of this connection only.
    private static func connectionHeaders(_ headers: [(name: String, value: String)]) -> Set<String> {
        var names: Set<String> = []
        for header in headers where header.name.utf8.count == 10 && header.name.lowercased() == "connection" {
            for name in header.value.split(separator: ",") { names.insert(name.trimmingSpaces.lowercased()) }
        }
        return names
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var text = self
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}

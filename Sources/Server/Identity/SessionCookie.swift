/// The cookie of a browser session. `__Host-` ties it to this host over TLS; browsers refuse that name over plain HTTP, so a server
/// that is reached over plain HTTP uses the plain name.
package struct SessionCookie: Sendable {
    package var isSecure: Bool

    package init(isSecure: Bool) { self.isSecure = isSecure }

    package var name: String { isSecure ? "__Host-slipway_session" : "slipway_session" }

    package func setting(_ value: String, maxAge: Duration) -> String {
        "\(name)=\(value); Path=/; HttpOnly; SameSite=Lax; Max-Age=\(maxAge.components.seconds)" + (isSecure ? "; Secure" : "")
    }

    package var clearing: String { setting("", maxAge: .zero) }

    /// The value in a `Cookie` header; nil when it is absent or given twice with different values (somebody injected one).
    package func value(in header: String) -> String? {
        let values = header.split(separator: ";").compactMap { part -> String? in
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, pair[0].drop(while: { $0 == " " }) == name[...] else { return nil }
            return String(pair[1])
        }
        return Set(values).count == 1 ? values[0] : nil
    }
}

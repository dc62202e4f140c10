/// Whether a browser sent a state-changing request from Slipway's own pages.
///
/// Only requests that a browser authorises by itself (cookies) need it: a token in a header is never added by a browser.
package enum OriginRule {
    package static func allows(method: String, origin: String?, fetchSite: String?, accessURL: String, host: String?) -> Bool {
        if ["GET", "HEAD", "OPTIONS"].contains(method) { return true }
        if let fetchSite { return fetchSite == "same-origin" || (fetchSite == "none" && origin == nil) }
        guard let origin, origin != "null" else { return false }
        if origin.lowercased() == accessURL.lowercased() { return true }
        // Reached by another name of the same server (localhost for 127.0.0.1): the origin's host must be the one that was called.
        guard let host, let scheme = accessURL.split(separator: ":").first else { return false }
        return origin.lowercased() == "\(scheme)://\(host)".lowercased()
    }
}

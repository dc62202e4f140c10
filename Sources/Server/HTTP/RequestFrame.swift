import Core
import Foundation
import HTTPTypes
import Logging

/// What surrounds every request, however it is answered: its id, the client's address, the metrics, one log line, headers for
/// browsers.
package struct RequestFrame: Sendable {
    /// A request under way.
    package struct Opened: Sendable {
        package var requestID: String
        /// The peer, or what a trusted proxy says about it.
        package var clientAddress: String?
        fileprivate var began = ContinuousClock.now
    }

    let meters: RequestMeters
    let trustedProxies: [AddressRange]
    let logger: Logger

    /// Paths whose requests are no news.
    private static let quiet: Set<String> = ["/healthz", "/readyz", "/metrics"]

    func open(_ headers: HTTPFields, requestID: String, peer: String?) -> Opened {
        var opened = Opened(requestID: requestID, clientAddress: peer)
        if let peer, !trustedProxies.isEmpty, trustedProxies.contains(where: { $0.contains(peer) }) {
            if let id = headers[.xRequestID], Self.isUsable(id) { opened.requestID = id }
            opened.clientAddress = client(behind: headers, peer: peer)
        }
        meters.inFlight.add(1)
        return opened
    }

    /// - Parameters:
    ///   - route: the pattern that the path matched; `-` for none.
    ///   - path: without the query, which can hold what does not belong into logs.
    func close(_ opened: Opened, method: String, path: String, route: String, status: HTTPResponse.Status) {
        meters.inFlight.add(-1)
        let duration = opened.began.duration(to: .now)
        meters.answered(method: method, route: route, status: status.code, in: duration)
        let level: Logger.Level = Self.quiet.contains(route) ? .debug : .info
        logger.log(
            level: level, "\(method) \(path)",
            metadata: [
                "request_id": "\(opened.requestID)", "status": "\(status.code)", "ms": "\(duration.milliseconds)",
                "client": "\(opened.clientAddress ?? "-")",
            ])
    }

    /// Adds to an answer what every answer has.
    static func complete(_ headers: inout HTTPFields, requestID: String) {
        headers[.xRequestID] = requestID
        headers[.xContentTypeOptions] = "nosniff"
        headers[.xFrameOptions] = "DENY"
        headers[.referrerPolicy] = "same-origin"
    }

    /// The last address in `X-Forwarded-For` that no trusted proxy has; what stands before it is the client's own invention.
    private func client(behind headers: HTTPFields, peer: String) -> String {
        let hops = headers[values: .xForwardedFor].joined(separator: ",").split(separator: ",")
            .map { $0.trimmingCharacters(in: .whitespaces) }
        for hop in hops.reversed() {
            // A proxy that writes something else hides its clients: they count as the proxy.
            guard let address = AddressRange.address(in: hop) else { return peer }
            if !trustedProxies.contains(where: { $0.contains(address) }) { return address }
        }
        return peer
    }

    private static func isUsable(_ id: String) -> Bool {
        (1...64).contains(id.utf8.count)
            && id.utf8.allSatisfy {
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 45 || $0 == 46 || $0 == 95
            }
    }
}

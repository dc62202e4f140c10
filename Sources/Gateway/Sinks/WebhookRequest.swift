import Crypto
import Core
import Foundation
import HTTPTransport
import NIOCore

/// A delivery to a webhook, signed so that the receiver can tell who sent it and that nobody changed or repeated it later.
enum WebhookRequest {
    /// HMAC-SHA256 over the time, a dot and the body, hexadecimal.
    static func signature(secret: String, time: Int64, body: String) -> String {
        let key = SymmetricKey(data: Data(secret.utf8))
        let code = HMAC<SHA256>.authenticationCode(for: Data("\(time).\(body)".utf8), using: key)
        return Data(code).hex
    }

    static func make(_ sink: AuditSink, body: String, time: Int64) -> HTTPClientRequest {
        var request = HTTPClientRequest(
            method: "POST", url: sink.url,
            headers: [
                ("content-type", "application/jsonl"), ("user-agent", "slipway-audit/1"), ("x-slipway-sink", sink.name),
                ("x-slipway-timestamp", "\(time)"),
                ("x-slipway-signature", "sha256=" + signature(secret: sink.secret.reveal(), time: time, body: body)),
            ], body: ByteBuffer(string: body), timeouts: .init(total: .seconds(20)),
            allowPrivateAddresses: sink.allowsPrivateAddresses)
        request.mayBeSentAgain = true  // a delivery that is in doubt is repeated anyway
        return request
    }
}

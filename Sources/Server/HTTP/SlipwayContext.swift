import Core
import Foundation
import Hummingbird
import NIOCore

/// What Hummingbird carries along with each request.
package struct SlipwayContext: RequestContext, RemoteAddressRequestContext {
    package var coreContext: CoreRequestContextStorage
    package let remoteAddress: SocketAddress?
    package let channel: any Channel
    package var requestID = SlipwayContext.newRequestID()
    /// The peer, or what a trusted proxy says about it.
    package var clientAddress: String?

    package init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        remoteAddress = source.channel.remoteAddress
        channel = source.channel
        clientAddress = remoteAddress?.ipAddress
    }

    static func newRequestID() -> String {
        let letters = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
        var bits = UInt64.random(in: .min ... .max)
        return String(unsafeUninitializedCapacity: 12) { buffer in
            for index in 0..<12 {
                buffer[index] = letters[Int(bits & 31)]
                bits >>= 5
            }
            return 12
        }
    }
}

import Core
import NIOCore

/// One request to another server. The body is held bytes or a file, so that a request can be sent again.
package struct HTTPClientRequest: Sendable {
    package var method: String
    /// `http://` or `https://`, without user or password in it.
    package var url: String
    /// Sent in this order, duplicates kept. `content-length` and `transfer-encoding` follow from the body and are left out;
    /// nothing is added but `host` and what belongs to framing.
    package var headers: [(name: String, value: String)]
    package var body: ByteBuffer?
    /// Sent instead of `body`; its size is not bounded here.
    package var file: UploadFile?
    package var timeouts: Timeouts
    /// Connects to this socket instead of to the URL's host.
    package var unixSocket: String?
    /// Without it, addresses are checked after name resolution, and those that are not public are refused.
    package var allowPrivateAddresses: Bool
    /// Trusted certificate authorities (PEM) in place of the system's.
    package var caFile: String?
    /// Neither uses a kept connection nor leaves one: for what must reach the other side at most once.
    package var freshConnection = false
    /// Whether it may be sent once more when a kept connection ends without a byte of an answer: the other side may have closed it while
    /// it was idle, or have worked on the request before it closed. Nil: as its method promises (RFC 9110 §9.2.2). Without it the
    /// transfer ends with `upstream`, to be tried again now, whose cause is `KeptConnectionClosed`: whoever sent it decides.
    package var mayBeSentAgain: Bool?

    package struct Timeouts: Sendable {
        /// Name resolution, connection and TLS handshake.
        package var connect: Duration
        /// From the start, or from the last piece of a file that was sent, until the answer's head is there.
        package var firstByte: Duration
        /// Between two pieces of the body. A reader that is slow itself does not run into it.
        package var idle: Duration
        /// From the start until the answer's last byte.
        package var total: Duration?

        package init(
            connect: Duration = .seconds(10), firstByte: Duration = .seconds(600), idle: Duration = .seconds(300),
            total: Duration? = nil
        ) {
            self.connect = connect
            self.firstByte = firstByte
            self.idle = idle
            self.total = total
        }
    }

    var isSentOnce: Bool { !(mayBeSentAgain ?? ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"].contains(method)) }

    /// The largest request body that is sent from memory.
    package static let maxBodyBytes = 32 << 20

    package init(
        method: String = "GET", url: String, headers: [(name: String, value: String)] = [], body: ByteBuffer? = nil,
        file: UploadFile? = nil, timeouts: Timeouts = Timeouts(), unixSocket: String? = nil, allowPrivateAddresses: Bool = false,
        caFile: String? = nil
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.file = file
        self.timeouts = timeouts
        self.unixSocket = unixSocket
        self.allowPrivateAddresses = allowPrivateAddresses
        self.caFile = caFile
    }
}

import Foundation

/// A request over a bare socket, for what a well-behaved client refuses to send.
enum RawRequest {
    struct Failed: Error { var what: String }

    /// Sends zeros as the body and reads the answer's status.
    static func status(_ url: String, path: String, token: String, bodyBytes: Int) throws -> Int {
        let head = "POST \(path) HTTP/1.1\r\nHost: x\r\nX-Api-Key: \(token)\r\nContent-Length: \(bodyBytes)\r\n\r\n"
        let answer = try exchange(url, Data(head.utf8) + Data(count: bodyBytes))
        guard let status = status(of: answer) else { throw Failed(what: "no answer") }
        return status
    }

    /// Nil: the connection was closed without an answer.
    static func status(of answer: String) -> Int? {
        let words = answer.split(separator: " ")
        return words.count > 1 ? Int(words[1]) : nil
    }

    /// Sends the bytes and reads the beginning of what comes back; empty when the connection is closed or silent.
    static func exchange(_ url: String, _ bytes: Data) throws -> String {
        guard let port = URL(string: url)?.port else { throw Failed(what: url) }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw Failed(what: "connect") }
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var rest = bytes
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, min($0.count, 1 << 20), Int32(MSG_NOSIGNAL)) }
            // The server may answer and close before it has read everything.
            if sent <= 0 { break }
            rest = rest.dropFirst(sent)
        }
        var answer = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &answer, answer.count, 0)
        return String(decoding: answer.prefix(max(0, count)), as: UTF8.self)
    }
}

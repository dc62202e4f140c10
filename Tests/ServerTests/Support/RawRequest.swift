import Foundation

/// A request over a bare socket, for what a well-behaved client refuses to send.
enum RawRequest {
    /// Sends zeros as the body and reads the answer's status.
    ///
    /// - Parameter sending: how much of the body is sent; nil: all.
    static func status(_ url: String, path: String, token: String, bodyBytes: Int, sending: Int? = nil) throws -> Int {
        let head = "POST \(path) HTTP/1.1\r\nHost: x\r\nX-Api-Key: \(token)\r\nContent-Length: \(bodyBytes)\r\n\r\n"
        let answer = try exchange(url, Data(head.utf8) + Data(count: sending ?? bodyBytes))
        guard let status = status(of: answer) else { throw RawSocket.Failed(what: "no answer") }
        return status
    }

    /// Nil: the connection was closed without an answer.
    static func status(of answer: String) -> Int? {
        let words = answer.split(separator: " ")
        return words.count > 1 ? Int(words[1]) : nil
    }

    /// Sends the bytes and reads the beginning of what comes back; empty when the connection is closed or silent.
    static func exchange(_ url: String, _ bytes: Data) throws -> String {
        let socket = try RawSocket(url, patience: 10)
        // The server may answer and close before it has read everything.
        socket.send(bytes)
        return String(decoding: (socket.receive() ?? Data()).prefix(4096), as: UTF8.self)
    }
}

import Foundation

/// Requests as bytes on one connection, all sent at once, and the answers in their order.
enum RawExchange {
    struct Answer {
        var status: Int
        var headers: [(name: String, value: String)]
        var text: String
        func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name.lowercased() }?.value }
    }

    struct Failed: Error { var what: String }

    /// - Parameter untilClosed: read on until the server closes the connection, which it must.
    static func send(_ url: String, _ requests: [String], untilClosed: Bool = false) throws -> [Answer] {
        guard let port = URL(string: url)?.port else { throw Failed(what: url) }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
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
        var rest = Data(requests.joined().utf8)
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent > 0 else { throw Failed(what: "send") }
            rest = rest.dropFirst(sent)
        }
        var received = Data()
        var answers: [Answer] = []
        var isClosed = false
        while answers.count < requests.count || (untilClosed && !isClosed) {
            while let answer = next(&received) { answers.append(answer) }
            if answers.count >= requests.count, !untilClosed { break }
            var buffer = [UInt8](repeating: 0, count: 65536)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count >= 0 else { throw Failed(what: "no answer \(answers.count + 1) within 30 s") }
            if count == 0 { isClosed = true }
            received += buffer.prefix(count)
            if isClosed, !untilClosed { throw Failed(what: "closed after \(answers.count) answers") }
        }
        return answers
    }

    /// Takes one complete answer from the front.
    private static func next(_ data: inout Data) -> Answer? {
        guard let end = data.range(of: Data("\r\n\r\n".utf8)) else { return nil }
        let lines = String(decoding: data[data.startIndex..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        let headers = lines.dropFirst().compactMap { line -> (name: String, value: String)? in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            return (String(line[..<colon]), line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces))
        }
        var answer = Answer(status: Int(lines[0].split(separator: " ")[1]) ?? 0, headers: headers, text: "")
        var at = end.upperBound
        if let length = answer.header("content-length").flatMap(Int.init) {
            guard data.endIndex - at >= length else { return nil }
            answer.text = String(decoding: data[at..<at + length], as: UTF8.self)
            at += length
        } else if answer.header("transfer-encoding") == "chunked" {
            while true {
                guard let line = data.range(of: Data("\r\n".utf8), in: at..<data.endIndex),
                    let size = Int(String(decoding: data[at..<line.lowerBound], as: UTF8.self), radix: 16),
                    data.endIndex - line.upperBound >= size + 2
                else { return nil }
                answer.text += String(decoding: data[line.upperBound..<line.upperBound + size], as: UTF8.self)
                at = line.upperBound + size + 2
                if size == 0 { break }
            }
        }
        data = Data(data[at...])
        return answer
    }
}

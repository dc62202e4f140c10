import Foundation

/// Requests as bytes on one connection, all sent at once, and the answers in their order.
enum RawExchange {
    struct Answer {
        var status: Int
        var headers: [(name: String, value: String)]
        var text: String
        func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name.lowercased() }?.value }
    }

    /// - Parameter untilClosed: read on until the server closes the connection, which it must.
    static func send(_ url: String, _ requests: [String], untilClosed: Bool = false) throws -> [Answer] {
        let socket = try RawSocket(url, patience: 30)
        guard socket.send(Data(requests.joined().utf8)) else { throw RawSocket.Failed(what: "send") }
        var received = Data()
        var answers: [Answer] = []
        var isClosed = false
        while answers.count < requests.count || (untilClosed && !isClosed) {
            while let answer = next(&received) { answers.append(answer) }
            if answers.count >= requests.count, !untilClosed { break }
            guard let more = socket.receive() else { throw RawSocket.Failed(what: "no answer \(answers.count + 1) within 30 s") }
            isClosed = more.isEmpty
            received += more
            if isClosed, !untilClosed { throw RawSocket.Failed(what: "closed after \(answers.count) answers") }
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

@testable import HTTPTransport
import Testing

/// Heads line by line, as curl hands them over, from servers that mean no good.
struct HeadTests {
    private func feed(_ head: inout ResponseHead, _ line: String) -> ResponseHead.Line {
        var line = line
        return line.withUTF8 { head.feed(UnsafeRawBufferPointer($0)) }
    }

    @Test func `lines without sense are passed over`() {
        var head = ResponseHead()
        for line in ["HTTP/1.1 200\r\n", "no colon\r\n", " folded onto nothing\r\n", ":no name\r\n", "a:b:c\r\n"] {
            #expect(feed(&head, line) == .more)
        }
        #expect(feed(&head, "\r\n") == .complete)
        #expect(head.status == 200)
        #expect(head.headers.map { "\($0.name)=\($0.value)" } == ["=no name", "a=b:c"])
    }

    @Test func `a status line that is none gives no status that could pass for one`() {
        for line in ["HTTP/1.1 2x0 OK\r\n", "HTTP/1.1\r\n", "HTTP/1.1 \r\n"] {
            var head = ResponseHead()
            _ = feed(&head, line)
            #expect(head.status == 0, "\(line)")
        }
    }

    @Test func `interim heads are forgotten and trailers ignored`() {
        var head = ResponseHead()
        for line in ["HTTP/1.1 103 Early Hints\r\n", "Link: x\r\n", "\r\n", "HTTP/1.1 404 No\r\n", "A: 1\r\n"] {
            #expect(feed(&head, line) == .more)
        }
        #expect(feed(&head, "\r\n") == .complete)
        #expect(feed(&head, "Trailer: 2\r\n") == .more)
        #expect(feed(&head, "\r\n") == .more, "the head is announced once")
        #expect(head.headers.count == 1)
    }
}

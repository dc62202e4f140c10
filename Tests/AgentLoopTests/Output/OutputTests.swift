import Testing

@testable import AgentLoop

@Suite struct OutputTests {
    private func cut(_ text: String, head: Int, tail: Int) -> String {
        let rule = OutputCut(headBytes: head, tailBytes: tail)
        var collector = rule.collector
        for byte in text.utf8 { collector.feed([byte]) }
        return rule.text(of: collector, more: "Read on with p1.")
    }

    @Test func `an output that fits stays whole`() {
        #expect(cut("one\ntwo\n", head: 4, tail: 4) == "one\ntwo\n")
    }

    @Test func `a long output keeps head and tail with the notice before the head`() {
        let text = (1...100).map { "line \($0)\n" }.joined()
        let shown = cut(text, head: 20, tail: 20)
        #expect(
            shown.hasPrefix(
                "[\(text.utf8.count) bytes of output; only the first 14 and the last 17 are shown. Read on with p1.]\nline 1\nline 2\n[…]\n"
            ))
        #expect(shown.hasSuffix("line 99\nline 100\n"))
    }

    @Test func `a cut never falls inside a character`() {
        for head in 8...16 {
            let shown = cut(String(repeating: "äöü€😀", count: 40), head: head, tail: head + 1)
            #expect(!shown.contains("\u{FFFD}"), "\(head)")
        }
    }

    @Test func `an output of any length is kept in bounded memory`() {
        var collector = HeadTail(head: 100, tail: 100)
        for _ in 0..<10_000 { collector.feed([UInt8](repeating: 65, count: 1000)) }
        #expect(collector.total == 10_000_000)
        #expect(collector.first.count == 100)
        #expect(collector.last.count == 100)
        #expect(collector.whole == nil)
    }

    @Test(arguments: [
        ("\u{1B}[31mred\u{1B}[0m\n", "red\n"),
        ("\u{1B}]0;title\u{07}text", "text"),
        ("\u{1B}]8;;http://x\u{1B}\\link\u{1B}]8;;\u{1B}\\", "link"),
        ("10%\r50%\r100%\nnext\n", "100%\nnext\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("a\u{0}b\u{7}c", "abc"),
        ("ab\u{8}c", "ac"),
        ("tab\tstays\n", "tab\tstays\n"),
        ("\u{1B}[1", ""),
    ])
    func `escape sequences and overwritten lines do not reach the model`(raw: String, expected: String) {
        #expect(PlainOutput.text(of: Array(raw.utf8)) == expected)
    }

    @Test func `bytes that are no UTF-8 are replaced`() {
        #expect(PlainOutput.text(of: [0x61, 0xFF, 0x62]) == "a\u{FFFD}b")
    }

    @Test func `a part of a file has numbered lines and says how to go on`() {
        let file = (1...10).map { "l\($0)\n" }.joined()
        #expect(
            FilePart.text(of: file, offset: 3, limit: 2, isWhole: true)
                == "3\tl3\n4\tl4\n[Lines 3 to 4 of 10. Go on with offset 5.]")
        #expect(FilePart.text(of: file, offset: 9, limit: 5, isWhole: true) == "9\tl9\n10\tl10\n")
        #expect(
            FilePart.text(of: file, offset: 11, limit: 5, isWhole: true) == "[The file has 10 lines; offset 11 is behind its end.]")
        #expect(FilePart.text(of: "", offset: 1, limit: 5, isWhole: true) == "[The file is empty.]")
    }

    @Test func `a very long line is cut with what is missing`() {
        let shown = FilePart.text(of: String(repeating: "x", count: 5000) + "\nend\n", offset: 1, limit: 5, isWhole: true)
        #expect(shown.contains("[3000 more bytes in this line]\n2\tend\n"))
    }
}

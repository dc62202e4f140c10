import Testing

@testable import AgentLoop

@Suite struct TextEditTests {
    private func apply(_ text: String, _ old: String, _ new: String, all: Bool = false) throws -> EditedText {
        try TextEdit(old: old, new: new, replaceAll: all).apply(to: text)
    }

    private func failure(_ text: String, _ old: String, _ new: String = "x") -> String {
        do {
            let edited = try apply(text, old, new)
            return "no failure: \(edited)"
        } catch { return "\(error)" }
    }

    @Test func `an exact passage is replaced wherever it begins`() throws {
        let edited = try apply("let a = 1\nlet b = 2\n", "b = 2", "b = 3")
        #expect(edited.text == "let a = 1\nlet b = 3\n")
        #expect(edited.rule == .exact)
        #expect(edited.changedLines == 2..<3)
    }

    @Test func `two exact passages are refused with their number and lines`() {
        #expect(failure("x = 1\ny\nx = 1\n", "x = 1").hasPrefix("old_text occurs 2 times (lines 1, 3)."))
    }

    @Test func `replace_all replaces every passage`() throws {
        let edited = try apply("a b a b a", "a", "aa", all: true)
        #expect(edited.text == "aa b aa b aa")
        #expect(edited.replacements == 3)
    }

    @Test func `passages do not overlap`() throws {
        #expect(try apply("aaaa", "aa", "b", all: true).text == "bb")
    }

    @Test func `white space at line ends is ignored when nothing matches exactly`() throws {
        let edited = try apply("if x {  \n    y()\t\n}\n", "if x {\n    y()\n}", "z()")
        #expect(edited.text == "z()\n")
        #expect(edited.rule == .trailingWhiteSpace)
    }

    @Test func `a passage indented deeper takes its new text with it`() throws {
        let edited = try apply(
            "class A {\n    func f() {\n        g()\n    }\n}\n", "func f() {\n    g()\n}", "func f() {\n    h()\n\n    i()\n}")
        #expect(edited.text == "class A {\n    func f() {\n        h()\n\n        i()\n    }\n}\n")
        #expect(edited.rule == .indentation)
    }

    @Test func `a passage indented less takes its new text with it`() throws {
        let edited = try apply("def f():\n    return 1\n", "    def f():\n        return 1\n", "    def f():\n        return 2\n")
        #expect(edited.text == "def f():\n    return 2\n")
    }

    @Test func `lines that are shifted differently do not match`() {
        #expect(failure("if a:\n      b()\n", "  if a:\n    b()").contains("does not occur"))
    }

    @Test func `typographic quotes and dashes are read as plain ones`() throws {
        let edited = try apply("say(\"it's – done…\")\n", "say(“it’s - done...”)", "say(\"over\")")
        #expect(edited.text == "say(\"over\")\n")
        #expect(edited.rule == .punctuation)
    }

    @Test func `a decomposed umlaut finds a composed one, but not as exact`() throws {
        let edited = try apply("// für\n", "// fu\u{308}r", "// for")
        #expect(edited.rule == .punctuation)
        #expect(edited.text == "// for\n")
    }

    @Test func `a tolerant match that is ambiguous is refused`() {
        #expect(failure("a(); \nb();\na();\t\n", "a();\n").hasPrefix("old_text occurs 2 times (lines 1, 3)"))
    }

    @Test func `an exact match wins over tolerant ones`() throws {
        let edited = try apply("  a()\na()\n", "\na()", "\nb()")
        #expect(edited.text == "  a()\nb()\n")
        #expect(edited.rule == .exact)
    }

    @Test(arguments: ["a\r\nb\r\nc\r\n", "\u{FEFF}a\r\nb\r\nc\r\n"])
    func `line ends and byte order mark stay as they are`(file: String) throws {
        let edited = try apply(file, "b\nc\n", "B\nC\nD\n")
        let expected = file.replacingBC()
        #expect(Array(edited.text.utf8) == Array(expected.utf8))
    }

    @Test func `mixed line ends are kept outside the passage`() throws {
        let edited = try apply("a\r\nb\nc\r\n", "b", "B")
        #expect(Array(edited.text.utf8) == Array("a\r\nB\nc\r\n".utf8))
    }

    @Test func `the last line without a line end can be replaced by whole lines`() throws {
        let edited = try apply("a\n  b ", "  b\n", "  c\n")
        #expect(edited.text == "a\n  c")
    }

    @Test func `deleting a passage says where it was`() throws {
        let edited = try apply("a\nb\nc\n", "b\n", "")
        #expect(edited.text == "a\nc\n")
        #expect(edited.changedLines == 2..<2)
    }

    @Test func `an empty passage is refused with the way out`() {
        #expect(failure("a", "").contains("write_file"))
    }

    @Test func `a change that changes nothing is refused`() {
        #expect(failure("a", "a", "a").contains("the same"))
    }

    @Test func `a failure shows the nearest lines with their numbers and the first difference`() {
        let file = "import A\n\nfunc total(of items: [Int]) -> Int {\n    items.reduce(0, +)\n}\n"
        let message = failure(file, "func total(of items: [Int]) -> Int {\n    return items.sum()\n}")
        #expect(message.contains("3\tfunc total(of items: [Int]) -> Int {"))
        #expect(message.contains("first difference is in line 2 of old_text"))
        #expect(message.contains("`    items.reduce(0, +)`"))
    }

    @Test func `a failure without anything alike says to read the file again`() {
        #expect(failure("alpha\nbeta\n", "zzzz qqqq 1234").contains("Read the file again"))
    }

    @Test func `copied line numbers are recognised`() {
        #expect(failure("let a = 1\n", "12\tlet a = 1\n13\tlet b = 2").contains("Leave out the line numbers"))
    }

    @Test func `a blank passage does not match any blank lines`() {
        #expect(failure("a\n\n\nb\n", " \n").contains("does not occur"))
    }

    @Test(.timeLimit(.minutes(1))) func `a large file with a large passage is searched in bounded time`() {
        let file = (0..<20_000).map { "    let value\($0) = compute(\($0), with: options)\n" }.joined()
        let old = (0..<400).map { "    let value\($0) = compute(\($0), using: options)\n" }.joined()
        #expect(failure(file, old).contains("nearest lines"))
    }

    @Test(.timeLimit(.minutes(1)), arguments: ["a", "a\n", "  a\n"])
    func `a file that repeats itself is searched in bounded time`(unit: String) {
        let half = String(repeating: unit, count: 500_000 / unit.utf8.count)
        #expect(failure(half + half, half + "b").contains("old_text"))
    }

    @Test func `a passage that overlaps itself is found once per place`() throws {
        #expect(try apply("aabaabaaa", "aabaaa", "X").text == "aabX")
        #expect(failure("abababab", "abab").contains("occurs 2 times"))
        #expect(try apply("  x\n  y\n  y\n  z\n", "y\nz\n", "Z\n").text == "  x\n  y\n  Z\n")
    }
}

extension String {
    fileprivate func replacingBC() -> String {
        String(decoding: Array(utf8), as: UTF8.self).unicodeScalars.map(String.init).joined()
            .split(separator: "b\r\nc\r\n", omittingEmptySubsequences: false).joined(separator: "B\r\nC\r\nD\r\n")
    }
}

import Testing

/// The runner itself: it must notice what is wrong.
@Suite struct SessionRuleTests {
    @Test(arguments: [
        ("ready", "ready", true), ("ready", "read", false), ("a 12 b", "a … b", true), ("a  b", "a … b", true),
        ("a b", "a … b", false),
        ("ab", "a…b", true), ("a", "a…a", false), ("x 1 y 2 z", "x … y … z", true), ("x 1 z", "x … y … z", false),
        ("anything", "…", true),
    ])
    func `an ellipsis stands for any characters of a line`(line: String, pattern: String, isMatch: Bool) {
        #expect(Session.matches(line, pattern: pattern) == isMatch)
    }

    @Test func `an ellipsis alone stands for any lines, and nothing else may be left over`() {
        #expect(Session.matches(["a", "b", "c"], ["a", "…", "c"]))
        #expect(Session.matches(["a", "c"], ["a", "…", "c"]))
        #expect(!Session.matches(["a", "b"], ["a"]))
        #expect(!Session.matches(["a"], ["a", "b"]))
        #expect(!Session.matches(["b", "a"], ["a", "b"]))
    }

    private func document(_ text: String) -> Session { Session(document: Markdown(path: "shown.md", text: text)) }

    @Test func `blocks run in one shell and are compared with what stands below them`() async throws {
        let text = """
            ```sh run
            word=ready
            ```
            ```sh run
            echo "http://real:1 is $word"
            ```
            ```text
            http://127.0.0.1:7990 is …
            ```
            ```sh
            false
            ```
            """
        #expect(try await document(text).run(url: "http://real:1", environment: [:], directory: "/tmp") == [])
    }

    @Test func `another output and a failing command are told with their lines`() async throws {
        let text = """
            ```sh run
            echo one
            ```
            ```text
            two
            ```
            ```sh run
            echo before
            false
            echo after
            ```
            """
        let problems = try await document(text).run(url: "http://real:1", environment: [:], directory: "/tmp")
        #expect(problems.count == 2)
        #expect(problems.first == "shown.md:4: expected\ntwo\nbut the commands printed\none\n")
        #expect(problems.last == "shown.md:7: the commands ended with 1:\nbefore\n")
    }
}

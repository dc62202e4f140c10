import Testing

@testable import AgentLoop

@Suite struct CommitMessageTests {
    private func message(_ text: String, user: String = "alice", email: String? = "alice@example.com") -> String {
        CommitMessage.text(for: .completed(text: text), title: "Fix it", task: "fix-it", username: user, email: email)
    }

    @Test func `the first line is the subject, the rest the body`() {
        #expect(
            message("Fix the parser\n\nIt lost a line.\n")
                == "Fix the parser\n\nIt lost a line.\n\nOn-behalf-of: alice <alice@example.com>\nSlipway-Task: fix-it\n")
    }

    @Test func `markup and leading lines are dropped from the subject`() {
        #expect(message("\n\n## **Fix the parser**\n").hasPrefix("Fix the parser\n\nOn-behalf-of"))
    }

    @Test func `a long first line becomes a short subject and stays whole in the body`() {
        let line = String(repeating: "word ", count: 40) + "end"
        let lines = message(line).split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines[0].count <= 72 && lines[0].hasSuffix("word…"))
        #expect(lines[2] == line[...])
    }

    @Test func `a name cannot add trailers of its own`() {
        let text = message("Fix", user: "al\nSigned-off-by: root <root@x>", email: nil)
        #expect(text == "Fix\n\nOn-behalf-of: alSigned-off-by: root root@x\nSlipway-Task: fix-it\n")
    }

    @Test func `control characters do not reach git`() {
        #expect(!message("Fix\u{1B}[31m\u{0} it").contains("\u{1B}"))
    }

    @Test func `unfinished work is called so`() {
        let text = CommitMessage.text(for: .interrupted, title: "Fix it", task: "fix-it", username: "alice", email: nil)
        #expect(text.hasPrefix("Work in progress: Fix it\n"))
    }

    @Test(arguments: [
        ("sample", "sample"), ("../../etc", "etc"), ("My Repo!", "My-Repo"), ("", "repository"), (".git", "git"),
        ("ünï code", "uni-code"),
    ])
    func `a repository's folder is a plain name`(name: String, folder: String) {
        #expect(RepositoryWork.folder(name) == folder)
    }

    @Test func `git's short statistics are read`() {
        let all = DiffStatistics(" 3 files changed, 10 insertions(+), 2 deletions(-)")
        #expect((all.files, all.additions, all.deletions) == (3, 10, 2))
        let one = DiffStatistics(" 1 file changed, 1 deletion(-)")
        #expect((one.files, one.additions, one.deletions) == (1, 0, 1))
        #expect(DiffStatistics("") == DiffStatistics("nonsense"))
    }

    @Test(arguments: [
        ("fix-the-parser", true), ("a", true), ("-a", false), ("a--b", false), ("A", false), ("", false), ("a/b", false),
    ])
    func `a task's name fits a branch`(name: String, isValid: Bool) {
        #expect(((try? TaskName.check(name)) != nil) == isValid)
    }

    @Test func `a made name is short and valid`() throws {
        let name = TaskName.make(from: "Fix: the *parser* of über-long expressions, and everything else", chance: 0x2A)
        #expect(name == "fix-the-parser-of-uber-002a")
        try TaskName.check(name)
        #expect(TaskName.make(from: "???", chance: 0xFFFF) == "task-ffff")
    }
}

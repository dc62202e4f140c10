import API
import Foundation
import Testing

@testable import Server

@Suite struct DiffViewTests {
    static let diff = """
        diff --git a/pricing/cart.py b/pricing/cart.py
        index 83db48f..bf269f4 100644
        --- a/pricing/cart.py
        +++ b/pricing/cart.py
        @@ -1,3 +1,3 @@ def total(self):
         def total(self):
        -    return 1
        +    return 2
        --- not a header: a removed line that began with "-- "
        diff --git a/new name.txt b/new name.txt
        new file mode 100644
        index 0000000..e69de29
        """

    @Test func `a diff is told apart into files and kinds of lines`() throws {
        let view = DiffView(Self.diff)
        #expect(view.files.map(\.path) == ["pricing/cart.py", "new name.txt"])
        #expect(view.files[0].lines.map(\.kind) == ["hunk", "same", "del", "add", "del"])
        #expect((view.added, view.removed) == (1, 2))
        #expect(view.files[1].lines.map(\.text) == ["new file mode 100644"])
    }

    @Test func `lines past the limit are counted, not dropped silently`() {
        let view = DiffView(Self.diff, limit: 2)
        #expect(view.files.last?.lines.last?.text == "… 4 more lines")
    }

    @Test func `of a diff that is cut the last line is left out, which may be a part of one`() {
        let data = Data(Self.diff.utf8)
        for count in 0..<data.count {
            let view = DiffView(data.prefix(count), isCut: true)
            #expect(view.files.allSatisfy { ["pricing/cart.py", "new name.txt"].contains($0.path) })
        }
        #expect(DiffView(data, isCut: false) == DiffView(Self.diff))
    }

    @Test(arguments: ["", "no diff at all", "@@ -1 +1 @@", "+++ b/x"])
    func `what is no diff has no files`(text: String) {
        #expect(DiffView(text).files.isEmpty)
    }
}

@Suite struct PageTextTests {
    @Test(arguments: [
        (0, "0"), (999, "999"), (1000, "1\u{202F}000"), (1_234_567, "1\u{202F}234\u{202F}567"), (-4321, "−4\u{202F}321"),
    ])
    func `counts have their thousands apart`(number: Int, text: String) {
        #expect(PageText.count(number) == text)
    }

    @Test func `times are said as people say them`() {
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        #expect(PageText.ago(now.addingTimeInterval(-5), now: now) == "just now")
        #expect(PageText.ago(now.addingTimeInterval(-300), now: now) == "5 min ago")
        #expect(PageText.ago(now.addingTimeInterval(-7200), now: now) == "2 h ago")
        #expect(PageText.ago(now.addingTimeInterval(-864_000), now: now) == "2027-01-05")
    }

    @Test func `a long text keeps its head and tail and says what is missing`() {
        let text = "begin" + String(repeating: "x", count: 100_000) + "end"
        let short = PageText.excerpt(text, limit: 1000)
        #expect(short.utf8.count < 1200)
        #expect(short.hasPrefix("[100\u{202F}008 bytes"))
        #expect(short.contains("begin") && short.hasSuffix("end"))
    }
}

@Suite struct DashboardTemplatesTests {
    @Test func `what users and models write is escaped on a page`() throws {
        let templates = try DashboardTemplates(files: Embedded.files)
        let page = MessagePage(
            frame: PageFrame(title: "</title><script>", principal: nil), heading: "<b>", message: "\"><img src=x onerror=1>")
        let html = try templates.render(page)
        #expect(html.contains("&lt;/title&gt;&lt;script&gt; · Slipway"))
        #expect(!html.contains("<img src=x"))
        #expect(!html.contains("<b>"))
    }

    @Test func `the page for the first account asks for the code, the one for signing in does not`() throws {
        let templates = try DashboardTemplates(files: Embedded.files)
        let frame = PageFrame(title: "Sign in", principal: nil)
        let setup = try templates.render(LoginPage(frame: frame, setup: true, error: "Wrong code.", next: "/"))
        #expect(setup.contains("name=\"code\"") && setup.contains("Wrong code.") && setup.contains("action=\"/setup\""))
        let login = try templates.render(LoginPage(frame: frame, setup: false, error: nil, next: "/tasks"))
        #expect(!login.contains("name=\"code\"") && login.contains("action=\"/login\"") && login.contains("value=\"/tasks\""))
    }
}

@Suite struct InterceptionPageTests {
    private func call(
        _ status: String, error: String? = nil, policy: String = "default/default", mode: String = "full", prompt: String? = nil
    ) -> Interception {
        Interception(
            id: "i", initiatorID: "u", initiator: "lin", sessionID: "s", provider: "demo", providerName: "demo", model: "m",
            client: "Claude Code", policy: policy, status: status, error: error, streamed: false, prompt: prompt,
            startedAt: Date(timeIntervalSince1970: 1_800_000_000), contentMode: mode)
    }

    private func page(_ call: Interception) -> InterceptionPage {
        InterceptionPage(frame: PageFrame(title: "Call", principal: nil), call: call)
    }

    @Test(arguments: [("policy_denied", "data/no-keys", "Refused by"), ("budget_exceeded", "a/b", "Let pass by")])
    func `a refused call is shown as refused, by its rule or for its reason`(error: String, policy: String, fact: String) throws {
        let refused = page(call("refused", error: error, policy: policy))
        #expect(refused.facts.first { $0.name == fact }?.value == policy)
        #expect(!refused.facts.contains { $0.name == "Allowed by" })
        let html = try DashboardTemplates(files: Embedded.files).render(refused)
        #expect(html.contains("Nothing was spent.") && html.contains("Refused: nothing that it said is kept."))
    }

    @Test func `why there is no prompt is told as far as it is known`() {
        #expect(page(call("completed")).withoutPrompt == "No text of a user.")
        #expect(page(call("completed", mode: "hashed")).withoutPrompt == "Its words are not kept.")
        var other = call("completed")
        other.threadParentID = "p"
        #expect(page(other).withoutPrompt == "Went on with tool results.")
        other.hedgeOf = "h"
        #expect(page(other).withoutPrompt == "A second attempt, with the prompt of the first.")
    }

    @Test func `the page of a call has what rules about content found in it`() throws {
        var flagged = call("completed", prompt: "hello")
        flagged.findings = [
            ContentFinding(
                place: "prompt", path: "messages[0].content", subject: "secret.github_token", rule: "data/watch", effect: "flagged",
                count: 2)
        ]
        let templates = try DashboardTemplates(files: Embedded.files)
        let html = try templates.render(page(flagged))
        for text in ["Found in", "secret.github_token", "data/watch", "messages[0].content", "<td class=\"num\">2</td>"] {
            #expect(html.contains(text), "\(text)")
        }
        #expect(try !templates.render(page(call("completed", prompt: "hello"))).contains("Found in"))
    }

    @Test func `a call through a route tells where it went, and each attempt`() throws {
        var routed = call("completed", prompt: "hello")
        let usage = TokenUsage(
            inputTokens: 1, cacheReadInputTokens: 0, cacheWriteInputTokens: 0, outputTokens: 1, reasoningTokens: 0)
        var row = LedgerRow(
            attempt: 1, state: "final", usage: usage, costNanoDollars: 1, holdNanoDollars: 1, overrunNanoDollars: 0, priceID: "p",
            settledAt: Date(timeIntervalSince1970: 1_800_000_000))
        (row.provider, row.model) = (routed.providerName, routed.model)
        routed.ledger = [row]
        #expect(routed.answeredBy == nil)
        (row.provider, row.model) = ("fake", "chatty")
        routed.ledger = [row]
        routed.attempts = [
            CallAttempt(
                attempt: 1, provider: "down", model: "m", credentialHint: "k…1", httpStatus: 503, error: "the provider is down",
                beganMilliseconds: 0, endedMilliseconds: 1234)
        ]
        #expect(page(routed).facts.first { $0.name == "Answered by" }?.value == "fake/chatty")
        let html = try DashboardTemplates(files: Embedded.files).render(page(routed))
        for text in ["fake/chatty", "down/m", "the provider is down", "k…1", "503", PageText.count(1234)] {
            #expect(html.contains(text), "\(text)")
        }
    }
}

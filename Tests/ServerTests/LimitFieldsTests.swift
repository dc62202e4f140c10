import API
import Core
import Testing

@testable import Server

/// The limits in the form that resumes a task.
@Suite struct LimitFieldsTests {
    private let present = TaskLimits(costNanoDollars: 2_500_000_000, steps: 2, seconds: 90)

    @Test func `a form shows the present limits, and sent back unchanged it changes none`() throws {
        let fields = LimitFields(present)
        #expect((fields.dollars, fields.steps, fields.minutes) == ("2.50", "2", "2"))
        let sent = LimitFields(FormFields("dollars=2.50&steps=2&minutes=2"))
        #expect(try sent.changes(from: present) == TaskLimits())
        #expect(try LimitFields(FormFields("")).changes(from: present) == TaskLimits())
    }

    @Test func `only what was changed is raised`() throws {
        #expect(try LimitFields(FormFields("dollars=2.50&steps=+40+&minutes=2")).changes(from: present) == TaskLimits(steps: 40))
        let all = try LimitFields(FormFields("dollars=%245&steps=3&minutes=10")).changes(from: present)
        #expect(all == TaskLimits(costNanoDollars: 5_000_000_000, steps: 3, seconds: 600))
    }

    @Test(arguments: [
        ("dollars=two", "dollars"), ("steps=-1", "steps"), ("steps=1e3", "steps"), ("minutes=99999999999999999", "minutes"),
    ])
    func `what is no limit is refused by name`(body: String, field: String) {
        #expect {
            try LimitFields(FormFields(body)).changes(from: present)
        } throws: {
            ($0 as? AppError)?.field == field
        }
    }

    @Test(arguments: [
        ("/tasks/abc/resume", "/tasks/abc"), ("/workspaces/1/stop", "/workspaces"), ("/logout", nil), ("/tasks", nil),
    ])
    func `a refused form leads back to its page`(path: String, page: String?) {
        #expect(PageResponder.page(ofForm: path)?.path == page)
    }
}

import API
import Core
import Foundation

/// How the states of tasks, workspaces and calls are coloured: classes of the style sheet.
enum Tone {
    static func of(_ status: String) -> String {
        switch status {
        case "completed", "final", "connected": "good"
        case "failed", "refused", "unknown", "unreachable": "bad"
        case "paused", "interrupted", "cut", "client_left", "estimated", "waiting": "warn"
        case "running", "queued", "open", "starting", "stopping", "pending", "deleting": "busy"
        default: ""
        }
    }
}

struct TasksPage: PageView {
    static let template = "tasks"

    struct Row: Sendable {
        var id: String
        var title: String
        var state: String
        var tone: String
        var owner: String
        var repository: String
        var model: String
        var steps: String
        var cost: String
        var created: String
        var createdIso: String
    }

    var frame: PageFrame
    var summary: String
    var any: Bool
    var tasks: [Row]
    var next: String?
    var accessUrl: String

    init(frame: PageFrame, list: TaskList, accessURL: String, now: Date) {
        self.frame = frame
        tasks = list.tasks.map { task in
            Row(
                id: task.id, title: PageText.line(task.title), state: task.status, tone: Tone.of(task.status), owner: task.owner,
                repository: task.repository.name, model: task.scripted ? "\(task.model) (scripted)" : task.model,
                steps: counted(task.usage.steps, "step"),
                cost: NanoDollars(task.usage.costNanoDollars).description, created: PageText.ago(task.createdAt, now: now),
                createdIso: PageText.iso(task.createdAt))
        }
        any = !tasks.isEmpty
        let working = list.tasks.count { Tone.of($0.status) == "busy" }
        summary = any ? (working == 0 ? "none at work now" : "\(working) at work now") : ""
        next = list.after
        accessUrl = accessURL
    }
}

/// The part of a task's page that changes while it runs; also sent alone to a live page.
struct TaskHead: Sendable {
    static let template = "task-head"

    var id: String
    var title: String
    var state: String
    var tone: String
    var reason: String?
    var cost: String
    var costLimit: String?
    var steps: Int
    var stepLimit: Int?
    var model: String
    var scripted: Bool
    var branch: String
    var owner: String
    var dollarsField: String
    var minutesField: String
    var leastSteps: Int
    var mayInterrupt: Bool
    var mayResume: Bool

    init(_ task: AgentTask, maySteer: Bool) {
        id = task.id
        title = PageText.line(task.title)
        state = task.status
        tone = Tone.of(task.status)
        reason = task.message
        cost = NanoDollars(task.usage.costNanoDollars).description
        costLimit = task.limits.costNanoDollars.map { NanoDollars($0).description }
        steps = task.usage.steps
        stepLimit = task.limits.steps
        model = task.model
        scripted = task.scripted
        branch = task.repository.branch
        owner = task.owner
        let fields = LimitFields(task.limits)
        dollarsField = fields.dollars
        minutesField = fields.minutes
        leastSteps = task.usage.steps + 1
        mayInterrupt = maySteer && ["running", "queued", "waiting"].contains(task.status)
        mayResume = maySteer && ["paused", "interrupted", "failed"].contains(task.status)
    }
}

struct TaskPage: PageView {
    static let template = "task"

    var frame: PageFrame
    var head: TaskHead
    var shortId: String
    var session: String?
    var lastSequence: Int64
    var maySteer: Bool
    var events: [TaskEventView] = []

    var onDiff = false
    var noDiff: String?
    var hasDiff = false
    var diffSummary = ""
    var diffCut: String?
    var files: [DiffView.File] = []

    init(frame: PageFrame, task: AgentTask, maySteer: Bool) {
        self.frame = frame
        head = TaskHead(task, maySteer: maySteer)
        shortId = task.name
        session = task.usage.steps > 0 ? task.id : nil
        lastSequence = 0
        self.maySteer = maySteer
    }

    mutating func show(events list: [TaskEvent]) {
        events = list.map(TaskEventView.init)
        lastSequence = list.last?.sequence ?? 0
    }

    mutating func show(diff data: Data, isCut: Bool) {
        onDiff = true
        if isCut { diffCut = "This diff is larger than a page shows: only its first \(ByteCount(data.count)) are here." }
        let view = DiffView(data, isCut: isCut)
        guard !view.files.isEmpty else {
            noDiff =
                head.state == "completed"
                ? "The task completed without changing a file." : "They appear here when the task commits."
            return
        }
        hasDiff = true
        files = view.files
        diffSummary = (isCut ? "at least " : "") + "\(counted(view.files.count, "file")), +\(view.added) −\(view.removed)"
    }
}

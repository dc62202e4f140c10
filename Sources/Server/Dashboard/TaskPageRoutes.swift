import API
import AgentLoop
import Core
import Foundation
import Hummingbird

/// Pages on which tasks are followed, steered and looked through.
struct TaskPageRoutes: Sendable {
    let responder: PageResponder
    let routes: TaskRoutes
    let accessURL: String

    func register(on table: RouteTable) {
        let failed = responder.failed
        table.page(.get, "/tasks", .readTasks, failed: failed, list)
        table.page(.get, "/tasks/{task}", .readTasks, failed: failed, transcript)
        table.page(.get, "/tasks/{task}/diff", .readTasks, failed: failed, diff)
        table.page(.get, "/tasks/{task}/live", .readTasks, failed: failed, live)
        table.page(.post, "/tasks/{task}/messages", .steerTask, failed: failed, send)
        table.page(.post, "/tasks/{task}/interrupt", .steerTask, failed: failed, interrupt)
        table.page(.post, "/tasks/{task}/resume", .steerTask, failed: failed, resume)
    }

    @Sendable private func list(_ call: Call) async throws -> Response {
        try responder.page(
            TasksPage(
                frame: PageFrame(title: "Tasks", principal: call.principal, section: .tasks), list: try await routes.page(call),
                accessURL: accessURL, now: Date()))
    }

    @Sendable private func transcript(_ call: Call) async throws -> Response {
        let task = try await routes.find(call)
        var page = view(of: task, call)
        page.show(events: try await allEvents(of: task, call.principal))
        return try responder.page(page)
    }

    /// Of a larger one the page shows the beginning: the whole is had with the client.
    private static let largestDiff = 2 << 20

    @Sendable private func diff(_ call: Call) async throws -> Response {
        let task = try await routes.find(call)
        var page = view(of: task, call)
        page.frame.title = "Diff of \(task.title)"
        if let file = try await routes.tasks.diff(call.principal, task.id) {
            let (data, isCut) = try await routes.tasks.beginning(of: file, upTo: Self.largestDiff)
            page.show(diff: data, isCut: isCut)
        } else {
            page.show(diff: Data(), isCut: false)
        }
        page.lastSequence = Int64(task.lastSeq)
        return try responder.page(page)
    }

    /// The same transcript as rendered fragments, while it grows.
    @Sendable private func live(_ call: Call) async throws -> Response {
        let task = try await routes.find(call)
        let maySteer = maySteer(task, call)
        let templates = responder.templates
        return try TaskFollowing(tasks: routes.tasks, principal: call.principal, task: task.id)
            .response(
                after: try call.incoming.queryInt("after") ?? 0, until: try call.incoming.context.disconnect(),
                routes.goingAway
            ) { item in
                switch item {
                case .event(let event):
                    let html = try templates.render(TaskEventView(event.shown), template: TaskEventView.template)
                    return [.init(id: event.seq, name: "event", data: html)]
                case .text(let text):
                    return [.init(name: "delta", data: String(decoding: try JSONEncoder().encode(text), as: UTF8.self))]
                case .changed(let record):
                    let head = TaskHead(routes.shown(record, call), maySteer: maySteer)
                    return [.init(name: "head", data: try templates.render(head, template: TaskHead.template))]
                case .atRest(let record): return [.init(name: "end", data: record.status.rawValue)]
                case .alive: return []
                }
            }
    }

    @Sendable private func send(_ call: Call) async throws -> Response {
        let task = try await routes.steerable(call)
        try await routes.tasks.send(call.principal, task.id, text: try await call.incoming.form()["text"])
        return responder.seeOther("/tasks/\(task.id)")
    }

    @Sendable private func interrupt(_ call: Call) async throws -> Response {
        let task = try await routes.steerable(call)
        try await routes.tasks.interrupt(call.principal, task.id)
        return responder.seeOther("/tasks/\(task.id)")
    }

    @Sendable private func resume(_ call: Call) async throws -> Response {
        let task = try await routes.steerable(call)
        let limits = try LimitFields(try await call.incoming.form()).changes(from: routes.shown(task, call).limits)
        try await routes.tasks.resume(call.principal, task.id, limits: limits.wanted)
        return responder.seeOther("/tasks/\(task.id)")
    }

    private func view(of task: TaskRecord, _ call: Call) -> TaskPage {
        TaskPage(
            frame: PageFrame(title: task.title, principal: call.principal, section: .tasks), task: routes.shown(task, call),
            maySteer: maySteer(task, call))
    }

    private func maySteer(_ task: TaskRecord, _ call: Call) -> Bool {
        switch call.principal.reach(of: .steerTask) {
        case .none: false
        case .own: task.owner == call.principal.user
        case .everyones: true
        }
    }

    /// A page shows a whole transcript; past 3,000 events the oldest are left out, as the page says by their numbers.
    private func allEvents(of task: TaskRecord, _ principal: Principal) async throws -> [API.TaskEvent] {
        var events: [API.TaskEvent] = []
        var after = max(0, task.lastSeq - 3000)
        while true {
            let part = try await routes.tasks.events(principal, task.id, after: after, limit: 1000)
            events += part.map(\.shown)
            guard part.count == 1000, let last = part.last else { return events }
            after = last.seq
        }
    }
}

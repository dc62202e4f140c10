import API
import AgentLoop
import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// Which models a task can have.
package protocol TaskModels: Sendable {
    /// The model for a new task, as the loop will ask for it.
    ///
    /// - Parameter wanted: what the user wrote; nil: the server's choice.
    /// - Throws: `badRequest` naming the models there are; `policyDenied`.
    func model(_ wanted: String?, for principal: Principal) throws -> String

    /// Whether it replays a script and is no AI.
    func isScripted(_ model: String, for principal: Principal) -> Bool
}

/// `/api/v2/tasks`: delegating work, following it, steering it, and getting it back.
struct TaskRoutes: Sendable {
    let tasks: TaskService
    let models: any TaskModels
    let goingAway: GoingAway

    func register(on table: RouteTable) {
        let task = APIPaths.tasks + "/{task}"
        table.on(.post, APIPaths.tasks, .createTask, create)
        table.on(.get, APIPaths.tasks, .readTasks, list)
        table.on(.get, task, .readTasks, get)
        table.on(.get, task + "/events", .readTasks, events)
        table.on(.get, task + "/stream", .readTasks, stream)
        table.on(.get, task + "/diff", .readTasks, diff)
        table.on(.get, task + "/bundle", .readTasks, bundle)
        table.on(.post, task + "/messages", .steerTask, send)
        table.on(.post, task + "/interrupt", .steerTask, interrupt)
        table.on(.post, task + "/resume", .steerTask, resume)
        table.on(.post, task + "/approval", .steerTask, approve)
    }

    // MARK: Making and reading

    @Sendable func create(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(CreateTaskRequest.self)
        guard let bundle = UUID(uuidString: wanted.fileID) else {
            throw AppError(.badRequest, "'\(wanted.fileID)' is no id of an uploaded file.", field: "file_id")
        }
        let task = try await tasks.create(
            call.principal,
            TaskService.NewTask(
                prompt: wanted.prompt, model: try models.model(wanted.model, for: call.principal),
                repository: wanted.repositoryName,
                bundle: bundle, baseBranch: wanted.baseBranch, limits: wanted.limits?.wanted ?? .init()))
        return try .json(shown(task, call), status: .created)
    }

    @Sendable func list(_ call: Call) async throws -> Response { try .json(try await page(call)) }

    func page(_ call: Call) async throws -> TaskList {
        let page = try await tasks.list(call.principal, .init(), try call.incoming.page())
        return TaskList(tasks: page.items.map { shown($0, call) }, after: page.next)
    }

    @Sendable func get(_ call: Call) async throws -> Response { try .json(shown(try await find(call), call)) }

    @Sendable func events(_ call: Call) async throws -> Response {
        let task = try await find(call)
        let seconds = min(max(try call.incoming.queryInt("wait") ?? 0, 0), 60)
        let number = try call.incoming.queryInt("after") ?? 0
        let wait: Duration = task.status.isActive ? .seconds(seconds) : .zero
        let found = try await call.incoming.context.disconnect().cancelling { [tasks, goingAway] in
            try await goingAway.unlessSet { try await tasks.events(call.principal, task.id, after: number, wait: wait) }
        }
        // The server goes away: the viewer asks again, another one answers.
        let events = found ?? []
        // Read after the events: a viewer that has seen the last of them may stop.
        let after = try await tasks.get(call.principal, task.id)
        return try .json(TaskEventList(events: events.map(\.shown), task: shown(after, call)))
    }

    /// Committed events as they come, and what is not yet committed as previews, until the task is at rest.
    @Sendable func stream(_ call: Call) async throws -> Response {
        let task = try await find(call)
        let following = TaskFollowing(tasks: tasks, principal: call.principal, task: task.id)
        // A browser that reconnects says itself what it has seen.
        let seen = call.incoming.header(.lastEventID).flatMap { Int($0) }
        return try following.response(
            after: try seen ?? call.incoming.queryInt("after") ?? 0, until: try call.incoming.context.disconnect(), goingAway
        ) { item in
            switch item {
            case .event(let event):
                [
                    .init(
                        id: event.seq, name: "event",
                        data: String(decoding: try APICoding.encoder().encode(event.shown), as: UTF8.self))
                ]
            case .text(let text): [.init(name: "delta", data: String(decoding: try JSONEncoder().encode(text), as: UTF8.self))]
            case .atRest(let task): [.init(name: "end", data: task.status.rawValue)]
            case .changed, .alive: []
            }
        }
    }

    // MARK: Results

    @Sendable func diff(_ call: Call) async throws -> Response {
        let task = try await find(call)
        let type = "text/x-diff; charset=utf-8"
        guard let file = try await tasks.diff(call.principal, task.id) else {
            return Response(status: .ok, headers: [.contentType: type, .cacheControl: "no-store"])
        }
        return try await streamed(file, as: type)
    }

    @Sendable func bundle(_ call: Call) async throws -> Response {
        let task = try await find(call)
        guard let file = try await tasks.bundle(call.principal, task.id) else {
            throw AppError(.notFound, "The task '\(task.name)' has no commit: it is \(task.status.rawValue).")
        }
        return try await streamed(file, as: "application/octet-stream")
    }

    /// A result may be as large as an upload: it passes in pieces.
    private func streamed(_ file: UUID, as type: String) async throws -> Response {
        let size = try await tasks.size(of: file)
        return Response(
            status: .ok, headers: [.contentType: type, .cacheControl: "no-store"],
            body: ResponseBody(contentLength: size) { [tasks] writer in
                try await tasks.read(file) { try await writer.write(ByteBuffer(bytes: $0)) }
                try await writer.finish(nil)
            })
    }

    // MARK: Steering

    @Sendable func send(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(SendMessageRequest.self)
        return try await steer(call) { try await tasks.send(call.principal, $0, text: wanted.text) }
    }

    @Sendable func interrupt(_ call: Call) async throws -> Response {
        try await steer(call) { try await tasks.interrupt(call.principal, $0) }
    }

    @Sendable func resume(_ call: Call) async throws -> Response {
        let body = try await call.incoming.collect(upTo: Incoming.maxJSONBytes)
        let wanted = body.readableBytes == 0 ? ResumeTaskRequest() : try Incoming.decode(ResumeTaskRequest.self, body)
        return try await steer(call) { try await tasks.resume(call.principal, $0, limits: wanted.limits?.wanted ?? .init()) }
    }

    @Sendable func approve(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(AnswerApprovalRequest.self)
        return try await steer(call) { try await tasks.answerApproval(call.principal, $0, isGiven: wanted.allow) }
    }

    private func steer(_ call: Call, _ change: (TaskID) async throws -> Void) async throws -> Response {
        let task = try await steerable(call)
        try await change(task.id)
        return try .json(shown(try await tasks.get(call.principal, task.id), call))
    }

    /// Who may read a task need not be who may steer it.
    func steerable(_ call: Call) async throws -> TaskRecord {
        let task = try await find(call)
        guard task.owner == call.principal.user || call.reach == .everyones else {
            throw AppError(.forbidden, "The task '\(task.name)' is \(task.ownerName)'s; only they steer it.")
        }
        return task
    }

    func find(_ call: Call) async throws -> TaskRecord { try await tasks.find(call.principal, try call.incoming.path("task")) }

    func shown(_ task: TaskRecord, _ call: Call) -> AgentTask {
        task.shown(scripted: models.isScripted(task.model, for: call.principal))
    }
}

extension HTTPField.Name {
    static let lastEventID = HTTPField.Name("Last-Event-ID")!
}

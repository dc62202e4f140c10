import AgentLoop
import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOConcurrencyHelpers
import NIOCore

/// One viewer's live view of a task as a stream of server-sent events: nothing committed is missed or repeated, previews come in
/// between, and silence is broken every 15 seconds so that proxies keep the connection.
struct TaskFollowing: Sendable {
    /// What a viewer can be told.
    enum Item: Sendable {
        case event(TaskEvent)
        /// Text that the model is writing now; void as soon as an event says it.
        case text(String)
        /// The task's counters or state may have changed.
        case changed(TaskRecord)
        case atRest(TaskRecord)
        case alive
    }

    struct Message: Sendable {
        var id: Int?
        var name: String
        var data: String

        /// The bytes of the stream: each line of the data has its own field.
        var text: String {
            var text = id.map { "id: \($0)\n" } ?? ""
            text += "event: \(name)\n"
            for line in data.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) { text += "data: \(line)\n" }
            return text + "\n"
        }
    }

    let tasks: TaskService
    let principal: Principal
    let task: TaskID

    /// Ends when the viewer leaves, and with `going_away` when the server does: the viewer comes back, perhaps to another one.
    func response(
        after: Int, until disconnect: Disconnect, _ goingAway: GoingAway, _ render: @escaping @Sendable (Item) throws -> [Message]
    ) throws -> Response {
        guard after >= 0 else {
            throw AppError(.badRequest, "after is \(after); it must be 0 or an event's number.", field: "after")
        }
        return Response(
            status: .ok,
            headers: [
                .contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-store",
                HTTPField.Name("X-Accel-Buffering")!: "no",
            ],
            body: .streamed(until: disconnect) { writer in
                let lent = Lent(value: writer)
                let isOver: Void? = try await goingAway.unlessSet {
                    var sink = lent.value
                    try await follow(after: after) { item in
                        let messages = try render(item)
                        if case .alive = item, messages.isEmpty {
                            try await sink.write(ByteBuffer(string: ": alive\n\n"))
                        } else if !messages.isEmpty {
                            try await sink.write(ByteBuffer(string: messages.map(\.text).joined()))
                        }
                    }
                }
                if isOver == nil {
                    try await writer.write(ByteBuffer(string: Message(name: "going_away", data: "reconnect").text))
                }
            })
    }

    /// Returns when the task is at rest and all its events were told. Ends early by throwing: the viewer left.
    func follow(after: Int, _ tell: @escaping (Item) async throws -> Void) async throws {
        // A viewer that reads slowly loses the oldest previews. Events wait apart: they are read one page at a time, and lost never.
        let (signals, signal) = AsyncStream.makeStream(of: Signal.self, bufferingPolicy: .bufferingNewest(1024))
        let page = NIOLockedValueBox<Result<[TaskEvent], any Error>?>(nil)
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask {
                guard let previews = try? await tasks.previews(principal, task) else { return }
                for await preview in previews { signal.yield(.preview(preview)) }
            }
            group.addTask {
                while (try? await Task.sleep(for: .seconds(15))) != nil { signal.yield(.tick) }
            }
            var after = after
            while true {
                group.addTask { [after] in
                    let read: Result<[TaskEvent], any Error>
                    do { read = .success(try await tasks.events(principal, task, after: after, wait: .seconds(20))) } catch {
                        read = .failure(error)
                    }
                    page.withLockedValue { $0 = read }
                    signal.yield(.events)
                }
                var arrived: [TaskEvent]?
                for await signal in signals {
                    switch signal {
                    case .preview(.delta(_, .text(let text))): try await tell(.text(text))
                    case .preview(.output(_, let text)): try await tell(.text(text))
                    case .tick: try await tell(.alive)
                    case .preview, .events: break
                    }
                    let read = page.withLockedValue { page in
                        defer { page = nil }
                        return page
                    }
                    arrived = try read?.get()
                    if arrived != nil { break }
                }
                try Task.checkCancellation()
                for event in arrived ?? [] {
                    try await tell(.event(event))
                    after = event.seq
                }
                let record = try await tasks.get(principal, task)
                try await tell(.changed(record))
                if !record.status.isActive, after >= record.lastSeq {
                    try await tell(.atRest(record))
                    group.cancelAll()
                    return
                }
            }
        }
    }

    private enum Signal: Sendable {
        case preview(TaskPreview)
        case tick
        /// A page of events is there, or why it is not.
        case events
    }
}

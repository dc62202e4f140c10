import Core
import Foundation

/// What people ask of tasks: rules and messages; the SQL is in `TaskStore`.
package struct TaskService: Sendable {
    package struct NewTask: Sendable {
        package var prompt: String
        package var model: String
        /// Nil: made from the prompt.
        package var name: String?
        /// What the repository is called; its folder in the workspace.
        package var repository: String?
        /// A stored git bundle; nil: an empty repository.
        package var bundle: UUID?
        package var baseBranch: String?
        package var limits: TaskLimits

        package init(
            prompt: String, model: String, name: String? = nil, repository: String? = nil, bundle: UUID? = nil,
            baseBranch: String? = nil,
            limits: TaskLimits = .init()
        ) {
            self.prompt = prompt
            self.model = model
            self.name = name
            self.repository = repository
            self.bundle = bundle
            self.baseBranch = baseBranch
            self.limits = limits
        }
    }

    package struct Filter: Sendable {
        package var owner: UserID?
        package var statuses: [TaskStatus]

        package init(owner: UserID? = nil, statuses: [TaskStatus] = []) {
            self.owner = owner
            self.statuses = statuses
        }
    }

    private static let longestText = 200_000
    private static let mostQueued = 50
    private static let longestWait = Duration.seconds(60)

    private let store: TaskStore
    private let files: TaskFiles
    private let bus: TaskBus
    private let previews: PreviewHub
    private let ledger: (any TaskLedger)?
    /// Taken where a new task gives no limit of a kind.
    private let defaults: TaskLimits

    /// - Parameter ledger: where costs are read; nil: what the loop wrote down itself.
    package init(
        store: TaskStore, files: TaskFiles, bus: TaskBus, previews: PreviewHub, ledger: (any TaskLedger)? = nil,
        defaults: TaskLimits = TaskLimits(steps: 250)
    ) {
        self.store = store
        self.files = files
        self.bus = bus
        self.previews = previews
        self.ledger = ledger
        self.defaults = defaults
    }

    // MARK: Making and reading

    /// Commits the task; a worker takes it at once. The prompt has at most 200,000 bytes.
    ///
    /// - Throws: `badRequest` or `tooLarge` with the field; `conflict` for a name that is taken; `notFound` for a bundle that is not the
    ///   caller's.
    package func create(_ principal: Principal, _ new: NewTask) async throws -> TaskRecord {
        try Self.check(text: new.prompt, field: "prompt")
        guard !new.model.isEmpty, new.model.utf8.count <= 200 else {
            throw AppError(.badRequest, "Name the model that the task is to use.", field: "model")
        }
        if let name = new.name { try TaskName.check(name) }
        if let branch = new.baseBranch,
            branch.isEmpty || branch.utf8.count > 250 || branch.contains(where: { $0.isWhitespace || $0.isNewline })
        {
            throw AppError(.badRequest, "'\(branch.prefix(80))' is no name of a branch.", field: "base_branch")
        }
        if let bundle = new.bundle, try await !store.ownsFile(principal, bundle) {
            throw AppError(
                .notFound, "There is no uploaded file \(bundle.uuidString.lowercased()); upload the bundle first.", field: "file_id"
            )
        }
        let limits = try defaults.raised(by: new.limits).checked()
        let title = TaskName.title(from: new.prompt)
        let id = TaskID()
        for attempt in 1... {
            let name = new.name ?? TaskName.make(from: title, chance: .random(in: 0...UInt16.max))
            let row = TaskStore.NewRow(
                id: id, name: name, title: title, prompt: new.prompt, model: new.model, limits: limits,
                repository: RepositoryWork.folder(new.repository ?? ""), inputFile: new.bundle, baseBranch: new.baseBranch)
            do {
                try await store.insert(principal, row)
                break
            } catch let error as AppError where error.code == .conflict && new.name == nil && attempt < 5 { continue }
        }
        bus.changed(id, .work)
        return try await get(principal, id)
    }

    /// - Throws: `notFound`, also for a task that the principal may not see.
    package func get(_ principal: Principal, _ id: TaskID) async throws -> TaskRecord {
        guard let record = try await store.get(principal, id) else { throw AppError(.notFound, "There is no task \(id).") }
        return try await booked([record])[0]
    }

    /// With the costs that the ledger has.
    private func booked(_ records: [TaskRecord]) async throws -> [TaskRecord] {
        guard let ledger, !records.isEmpty else { return records }
        let costs = try await ledger.costs(of: records.map(\.id))
        return records.map { record in
            var record = record
            record.cost = costs[record.id] ?? .zero
            return record
        }
    }

    /// By id or by name.
    package func find(_ principal: Principal, _ reference: String) async throws -> TaskRecord {
        if let id = TaskID(reference) { return try await get(principal, id) }
        guard let record = try await store.find(principal, name: reference) else {
            throw AppError(.notFound, "There is no task '\(reference.prefix(80))'.")
        }
        return try await booked([record])[0]
    }

    /// The newest first.
    package func list(_ principal: Principal, _ filter: Filter = .init(), _ page: PageRequest) async throws -> Page<TaskRecord> {
        let before: Int64? = try page.after.map { text in
            guard let number = Int64(text), number > 0 else {
                throw AppError(.badRequest, "The cursor '\(text.prefix(40))' is not one of this list.", field: "after")
            }
            return number
        }
        let rows = try await store.list(
            principal, owner: filter.owner, statuses: filter.statuses, before: before, limit: page.limit + 1)
        let shown = rows.prefix(page.limit)
        return Page(
            items: try await booked(shown.map(\.record)), next: rows.count > page.limit ? shown.last.map { String($0.number) } : nil
        )
    }

    // MARK: Following

    /// Events after a number, in order and without gaps. With `wait` it answers as soon as there is one, or empty when the time has passed.
    package func events(
        _ principal: Principal, _ id: TaskID, after seq: Int, wait: Duration = .zero, limit: Int = 500
    ) async throws -> [TaskEvent] {
        guard seq >= 0 else {
            throw AppError(.badRequest, "after is \(seq); it must be 0 or the number of an event.", field: "after")
        }
        guard (1...1000).contains(limit) else {
            throw AppError(.badRequest, "limit is \(limit); it must be from 1 to 1000.", field: "limit")
        }
        // Listening begins before reading: nothing falls in between.
        let changes = wait > .zero ? bus.changes(.events, of: id) : nil
        let clock = ContinuousClock()
        let end = clock.now + min(wait, Self.longestWait)
        while true {
            guard let events = try await store.events(principal, id, after: seq, limit: limit) else {
                throw AppError(.notFound, "There is no task \(id).")
            }
            let left = end - clock.now
            guard events.isEmpty, let changes, left > .zero else { return events }
            await Self.next(of: changes, within: min(left, .seconds(1)))
        }
    }

    private static func next(of changes: AsyncStream<Void>, within time: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in changes { return } }
            group.addTask { try? await Task.sleep(for: time) }
            await group.next()
            group.cancelAll()
        }
    }

    /// What the task is doing on this replica right now: void as soon as events say it.
    package func previews(_ principal: Principal, _ id: TaskID) async throws -> AsyncStream<TaskPreview> {
        _ = try await get(principal, id)
        return previews.previews(of: id)
    }

    // MARK: Steering

    /// Queues a message: the agent reads it before its next step, a task at rest goes on with it, unless it asks for
    /// more of a limit. At most 50 wait.
    ///
    /// - Throws: `notFound`; `badRequest`, `tooLarge`; `conflict` when too many wait.
    package func send(_ principal: Principal, _ id: TaskID, text: String) async throws {
        try Self.check(text: text, field: "text")
        try await store.send(principal, id, text: text, messageID: UUID(), maxQueued: Self.mostQueued)
        changed(id)
    }

    /// Asks the task to stop; it is over when an `interrupted` event says so. What the agent did so far is saved.
    ///
    /// - Throws: `notFound`, `conflict` when it is at rest already.
    package func interrupt(_ principal: Principal, _ id: TaskID) async throws {
        try await store.interrupt(principal, id)
        changed(id)
    }

    /// Lets a task at rest go on where it stopped.
    ///
    /// - Parameter limits: those that are given replace the task's own.
    /// - Throws: `notFound`; `conflict` when it does not rest or has completed; `badRequest` for a limit that is reached already.
    /// The owner, or an admin, says whether a call may be made for which the task waits.
    package func answerApproval(_ principal: Principal, _ id: TaskID, isGiven: Bool) async throws {
        try await store.answerApproval(principal, id, isGiven: isGiven)
        changed(id)
    }

    package func resume(_ principal: Principal, _ id: TaskID, limits: TaskLimits = .init()) async throws {
        try await store.resume(principal, id, limits: try limits.checked())
        changed(id)
    }

    /// - Returns: the workspace that it had, which is the caller's to remove.
    @discardableResult
    package func delete(_ principal: Principal, _ id: TaskID) async throws -> WorkspaceID? {
        let workspace = try await store.delete(principal, id)
        changed(id)
        return workspace
    }

    private func changed(_ id: TaskID) {
        bus.changed(id, .events)
        bus.changed(id, .work)
    }

    // MARK: Results

    /// The branch as a git bundle that needs the base commit. Nil when there is no commit yet.
    package func bundle(_ principal: Principal, _ id: TaskID) async throws -> UUID? {
        try await results(principal, id).bundle
    }

    /// The difference to the base. Nil when nothing was saved yet.
    package func diff(_ principal: Principal, _ id: TaskID) async throws -> UUID? {
        try await results(principal, id).diff
    }

    /// The beginning of a result, and whether there is more: whoever may read the task may read it.
    package func beginning(of file: UUID, upTo limit: Int) async throws -> (data: Data, isCut: Bool) {
        guard let part = try await files.beginning(of: file, upTo: limit) else {
            throw AppError(.notFound, "The file is no longer there.")
        }
        return part
    }

    package func size(of file: UUID) async throws -> Int {
        guard let size = try await files.size(of: file) else { throw AppError(.notFound, "The file is no longer there.") }
        return size
    }

    /// Hands a result out in pieces of at most a MiB.
    package func read(_ file: UUID, _ take: (Data) async throws -> Void) async throws {
        var number = 0
        while let chunk = try await files.chunk(number, of: file) {
            try await take(chunk)
            number += 1
        }
    }

    private func results(_ principal: Principal, _ id: TaskID) async throws -> (bundle: UUID?, diff: UUID?) {
        guard let results = try await store.results(principal, id) else { throw AppError(.notFound, "There is no task \(id).") }
        return results
    }

    private static func check(text: String, field: String) throws {
        guard !text.allSatisfy(\.isWhitespace) else {
            throw AppError(.badRequest, "\(field) is empty: say what is to be done.", field: field)
        }
        guard text.utf8.count <= longestText else {
            throw AppError(.tooLarge, "\(field) has \(text.utf8.count) bytes; at most \(longestText) are taken.", field: field)
        }
        guard !text.utf8.contains(0) else { throw AppError(.badRequest, "\(field) holds a NUL character.", field: field) }
    }
}

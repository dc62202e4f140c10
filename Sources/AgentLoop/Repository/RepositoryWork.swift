import Core
import Foundation

/// Brings a task's repository into its workspace, and its result out of it into the database.
struct RepositoryWork: Sendable {
    let files: TaskFiles
    let workspace: OpenWorkspace
    let fence: Int64
    let snapshot: TaskSnapshot
    let task: TaskID

    struct Opened: Sendable {
        var directory: String
        var baseCommit: String
        var baseBranch: String
    }

    var directory: String { workspace.home + "/" + Self.folder(snapshot.repository) }
    private var branch: String { TaskName.branch(snapshot.name) }
    private var importFolder: String { workspace.home + "/.slipway/import-\(task)" }
    private var resultFolder: String { workspace.home + "/.slipway/result-\(task)" }
    private var scripts: ScriptRunner { ScriptRunner(tools: workspace.tools, fence: fence) }

    /// A plain folder name, whatever the repository is called.
    static func folder(_ name: String) -> String {
        let kept = name.folding(options: .diacriticInsensitive, locale: nil).replacing(" ", with: "-").unicodeScalars.filter {
            $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "._-".unicodeScalars.contains($0))
        }
        let text = String(String.UnicodeScalarView(kept)).prefix(60).drop { $0 == "." || $0 == "-" }
        return text.isEmpty ? "repository" : String(text)
    }

    // MARK: In

    /// Idempotent: a repository that is there already is left alone.
    ///
    /// - Throws: `OpenFailure.refused` with the reason in words, `AppError` when the workspace does not answer.
    func open() async throws -> Opened {
        let first = try await run(RepositoryScripts.open, ["PARTS": "0", "ONLY_LOOK": "1"])
        if first.report("missing") == nil { return try opened(first) }
        // A repository that was there and is not any more took the work with it: the owner must know.
        if snapshot.headCommit != nil || !snapshot.transcript.entries.isEmpty, snapshot.baseCommit != nil {
            throw OpenFailure.refused(
                .workspace,
                message: "The workspace no longer has the repository of this task: it was replaced or its files were lost.")
        }
        var parts = 0
        if let file = snapshot.inputFile {
            parts = try await copy(file)
            if parts == 0 { throw OpenFailure.refused(.repository, message: "The uploaded bundle is empty or no longer there.") }
        }
        return try opened(try await run(RepositoryScripts.open, ["PARTS": "\(parts)", "ONLY_LOOK": "0"]))
    }

    private func copy(_ file: UUID) async throws -> Int {
        var parts = 0
        while let chunk = try await files.chunk(parts, of: file) {
            let effect = Effect(call: CallID(), fence: fence)
            if case .unknown(let why) = try await workspace.tools.write("\(importFolder)/\(parts)", chunk, effect: effect) {
                throw AppError(.unavailable, "The bundle could not be copied into the workspace: \(why).")
            }
            parts += 1
        }
        return parts
    }

    private func run(_ script: String, _ more: [String: String]) async throws -> ScriptRunner.Outcome {
        var environment = [
            "REPOSITORY": directory, "IMPORT": importFolder, "BRANCH": branch,
            "BASE": snapshot.baseCommit == nil ? snapshot.baseBranch ?? "" : "",
        ]
        environment.merge(more) { $1 }
        return try await scripts.run(script, directory: workspace.home, environment: environment)
    }

    private func opened(_ outcome: ScriptRunner.Outcome) throws -> Opened {
        let said = outcome.output.linesByLF.filter { !$0.isEmpty && !$0.hasPrefix("slipway: ") }.joined(separator: " ")
        let detail = String(said.suffix(600))
        switch outcome.exitCode {
        case 0: break
        case RepositoryScripts.missingGit:
            throw OpenFailure.refused(
                .repository, message: "git is not installed in the workspace: install it in the sandbox's system.")
        case RepositoryScripts.unknownBase:
            let branches = outcome.report("branches")?.trimmingCharacters(in: .whitespaces) ?? ""
            if branches.isEmpty { throw Self.broken("it has no branches") }
            throw OpenFailure.refused(
                .repository,
                message: "The bundle has no branch '\(snapshot.baseBranch ?? "HEAD")'. It has: \(branches). "
                    + "Create the task again with one of these as its base branch.")
        case RepositoryScripts.notOurs:
            throw OpenFailure.refused(
                .repository, message: "The workspace already has something else at \(directory): move it away, then resume.")
        case RepositoryScripts.brokenBundle: throw Self.broken(detail)
        default:
            throw OpenFailure.refused(
                .repository, message: "The repository could not be opened (exit code \(outcome.exitCode)): \(detail)")
        }
        let words = outcome.report("base")?.split(separator: " ", maxSplits: 1).map(String.init) ?? []
        guard let commit = words.first, Self.isCommit(commit) else {
            throw OpenFailure.refused(
                .repository, message: "The repository could not be opened: git did not name its commit. \(detail)")
        }
        return Opened(directory: directory, baseCommit: commit, baseBranch: words.count > 1 ? words[1] : "HEAD")
    }

    private static func broken(_ detail: String) -> OpenFailure {
        .refused(
            .repository,
            message: "The uploaded file is not a whole git bundle: \(detail). Make it with `git bundle create FILE --all`.")
    }

    static func isCommit(_ text: String) -> Bool {
        (text.utf8.count == 40 || text.utf8.count == 64)
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    // MARK: Out

    /// Commits what is in the working tree, and stores bundle and diff. Nil when nothing is new since the last time.
    ///
    /// - Throws: `AppError`: `unavailable` when the workspace does not answer, else with git's words.
    func save(_ ending: Ending, baseCommit: String) async throws -> SavedWork? {
        let message = CommitMessage.text(
            for: ending, title: snapshot.title, task: snapshot.name, username: snapshot.principal.username, email: snapshot.email)
        let outcome = try await run(
            RepositoryScripts.save,
            [
                "BASE": baseCommit, "KNOWN": snapshot.headCommit ?? "", "OUT": resultFolder, "MESSAGE": message,
                "AUTHOR": "Slipway agent",
                "EMAIL": "agent@slipway.invalid",
            ])
        guard outcome.exitCode == 0, let head = outcome.report("head"), Self.isCommit(head) else {
            let detail = String(outcome.output.trimmingCharacters(in: .whitespacesAndNewlines).suffix(600))
            throw AppError(.conflict, "The work could not be committed: \(detail)")
        }
        if head == snapshot.headCommit { return nil }
        let statistics = DiffStatistics(outcome.report("stat") ?? "")
        let hasCommits = (outcome.report("count").flatMap { Int($0) } ?? 0) > 0
        let bundle = hasCommits ? try await store("bundle", as: "application/x-git-bundle") : nil
        let diff = try await store("diff", as: "text/x-diff")
        return SavedWork(
            headCommit: head, bundle: bundle, diff: diff, changedFiles: statistics.files, additions: statistics.additions,
            deletions: statistics.deletions, isNew: hasCommits)
    }

    private func store(_ name: String, as contentType: String) async throws -> UUID {
        let path = "\(resultFolder)/\(name)"
        let tools = workspace.tools
        let chunks = FileChunks(tools: tools, path: path)
        return try await files.save(
            organization: snapshot.principal.organization, owner: snapshot.principal.user, contentType: contentType, chunks: chunks
        ).id
    }
}

/// A file of a workspace in parts of 1 MiB.
private struct FileChunks: AsyncSequence {
    let tools: any WorkspaceTools
    let path: String

    func makeAsyncIterator() -> Iterator { Iterator(tools: tools, path: path) }

    struct Iterator: AsyncIteratorProtocol {
        let tools: any WorkspaceTools
        let path: String
        var offset = 0

        mutating func next() async throws -> Data? {
            let part = try await tools.read(path, offset: offset, limit: TaskFiles.chunkBytes)
            offset += part.data.count
            return part.data.isEmpty ? nil : part.data
        }
    }
}

/// `3 files changed, 10 insertions(+), 2 deletions(-)`, as git says it.
struct DiffStatistics: Equatable {
    var files = 0
    var additions = 0
    var deletions = 0

    init(_ text: String) {
        for part in text.split(separator: ",") {
            guard let number = part.split(separator: " ").first.flatMap({ Int($0) }) else { continue }
            if part.contains("file") { files = number }
            if part.contains("insertion") { additions = number }
            if part.contains("deletion") { deletions = number }
        }
    }
}

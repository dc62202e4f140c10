import Foundation

/// A git repository on the client's machine, through the git program.
struct GitRepository {
    let path: String
    let name: String
    let branch: String?
    let isDirty: Bool

    /// - Throws: `Failure` saying what is missing: git, the folder, a repository in it.
    init(at folder: String) throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue else {
            throw Failure(.failed, "There is no folder \(folder).", hint: "--repo takes the path of a git repository.")
        }
        let top = try Self.git(["rev-parse", "--show-toplevel"], in: folder)
        guard top.status == 0 else {
            let why = top.errors.contains("dubious ownership") ? " (\(top.errors))" : ""
            throw Failure(
                .failed, "\(folder == "." ? FileManager.default.currentDirectoryPath : folder) is no git repository\(why).",
                hint: "Use 'git init' and commit once, or give another --repo.")
        }
        path = top.text
        name = URL(fileURLWithPath: path).lastPathComponent
        let head = try Self.git(["symbolic-ref", "--short", "-q", "HEAD"], in: path)
        branch = head.status == 0 ? head.text : nil
        isDirty = try !Self.git(["status", "--porcelain"], in: path).text.isEmpty
    }

    /// Lends all branches and HEAD as one file.
    func withBundle<Value>(_ body: (URL) async throws -> Value) async throws -> Value {
        try await Self.withTemporaryFile { file in
            let made = try Self.git(["bundle", "create", "--quiet", file.path, "HEAD", "--branches"], in: path)
            guard made.status == 0 else { throw Failure(.failed, "git could not make a bundle of \(path): \(made.errors)") }
            return try await body(file)
        }
    }

    static func withTemporaryFile<Value>(_ body: (URL) async throws -> Value) async throws -> Value {
        let file = FileManager.default.temporaryDirectory.appending(path: "slipway-\(UUID().uuidString).bundle")
        defer { try? FileManager.default.removeItem(at: file) }
        return try await body(file)
    }

    /// Takes `branch` out of a bundle into a local branch of the same name.
    ///
    /// - Throws: `Failure` when the branch exists here with commits the bundle does not have.
    func fetch(_ file: URL, branch: String) throws {
        let fetched = try Self.git(["fetch", "--quiet", file.path, "refs/heads/\(branch):refs/heads/\(branch)"], in: path)
        guard fetched.status == 0 else {
            var hint: String?
            if fetched.errors.contains("prerequisite") { hint = "Pull in the repository that the task was made from." }
            if fetched.errors.contains("non-fast-forward") || fetched.errors.contains("rejected") {
                hint = "Rename or delete the local branch \(branch) first: it has commits that the task does not have."
            }
            if fetched.errors.contains("checked out") { hint = "Check out another branch first: \(branch) is the one you are on." }
            throw Failure(.failed, "git could not fetch \(branch): \(fetched.errors)", hint: hint)
        }
    }

    private struct Outcome {
        var status: Int32
        var text: String
        var errors: String
    }

    private static func git(_ arguments: [String], in folder: String) throws -> Outcome {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["git", "-C", folder] + arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"]) { $1 }
        let output = Pipe()
        let errors = Pipe()
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = FileHandle.nullDevice
        try process.run()
        // Output first: a long list of changed files would fill its pipe while nobody reads; errors always fit into theirs.
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let errorText = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        if process.terminationStatus == 127 { throw Failure(.failed, "git is missing.", hint: "Install it: apt-get install git") }
        return Outcome(
            status: process.terminationStatus, text: text.trimmingCharacters(in: .whitespacesAndNewlines),
            errors: errorText.trimmingCharacters(in: .whitespacesAndNewlines))
    }
}

extension GitRepository {
    /// - Throws: `Failure` when there is no commit to start from, or no branch `base`, naming those there are.
    func requireCommit(on base: String?) throws {
        guard try Self.git(["rev-parse", "--verify", "-q", "HEAD^{commit}"], in: path).status == 0 else {
            throw Failure(
                .failed, "\(path) has no commit yet.", hint: "An agent starts from a commit: commit once, then try again.")
        }
        guard let base else { return }
        let branches = try Self.git(["for-each-ref", "--format=%(refname:short)", "refs/heads"], in: path).text
            .split(separator: "\n").map(String.init)
        guard branches.contains(base) else {
            let some = branches.prefix(10).joined(separator: ", ") + (branches.count > 10 ? ", …" : "")
            throw Failure(.failed, "\(path) has no branch '\(base)'.", hint: "--base takes one of: \(some)")
        }
    }
}

import AgentProtocol
import CAgent
import Glibc
import NIOCore

/// Replaces a file as a whole: data, end → result (prepared); then commit → result (`FileWritten`).
///
/// Between the two the agent writes its journal. Whoever reads the file sees the old content or the new, never a part.
struct FileWriting {
    let socket: WorkerSocket

    func run(_ request: WorkerRequest) throws {
        var failure: AgentFailure?
        var file: Prepared?
        do { file = try Prepared(request.path) } catch { failure = error }
        defer { file?.discard() }
        // All data is taken before a failure is told: the agent writes first and listens then.
        receiving: while true {
            let frame = try socket.receive()
            switch frame.kind {
            case .data: if failure == nil { do { try file?.write(frame.payload) } catch { failure = error } }
            case .end: break receiving
            default: throw WorkerSocket.Failure.malformed
            }
        }
        if let failure { throw failure }
        try socket.send(.result, json: FileWritten(size: file?.size ?? 0, created: file?.mode == nil))
        while true {
            switch try socket.receive().kind {
            case .compare: try socket.send(.result, json: try file?.isInPlace() ?? false)
            case .commit:
                guard let written = try file?.commit() else { throw WorkerSocket.Failure.malformed }
                file = nil
                return try socket.send(.result, json: written)
            default: throw WorkerSocket.Failure.malformed
            }
        }
    }
}

/// New content that has no name yet.
private struct Prepared {
    private let descriptor: Int32
    private let path: String
    private let asked: String
    /// Its name, where the file system has no nameless files.
    private var temporary: String?
    private(set) var size: Int64 = 0
    /// Of the file that is replaced.
    let mode: mode_t?

    init(_ asked: String) throws(AgentFailure) {
        self.asked = try FilePath.check(asked)
        (path, mode) = try Self.target(asked)
        let directory = Self.directory(of: path)
        try Self.makeDirectories(directory)
        let nameless = open(directory, cagent_o_tmpfile() | O_RDWR | O_CLOEXEC, 0o600)
        if nameless >= 0 {
            descriptor = nameless
        } else {
            guard errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL else { throw FilePath.failure(.last, "written", asked) }
            let name = Self.temporaryName(path)
            descriptor = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw FilePath.failure(.last, "written", asked) }
            temporary = name
        }
        fchmod(descriptor, mode ?? 0o644)
    }

    mutating func write(_ bytes: ByteBuffer) throws(AgentFailure) {
        do { try bytes.withUnsafeReadableBytes { try writeAll(descriptor, $0) } } catch {
            throw FilePath.failure(error as? SystemError ?? SystemError(EIO), "written", asked)
        }
        size += Int64(bytes.readableBytes)
    }

    func commit() throws(AgentFailure) -> FileWritten {
        let name: String
        if let temporary {
            name = temporary
        } else {
            name = Self.temporaryName(path)
            guard linkat(AT_FDCWD, "/proc/self/fd/\(descriptor)", AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0 else {
                throw FilePath.failure(.last, "written", asked)
            }
        }
        guard rename(name, path) == 0 else {
            let error = SystemError.last
            unlink(name)
            throw FilePath.failure(error, "written", asked)
        }
        close(descriptor)
        return FileWritten(size: size, created: mode == nil)
    }

    func discard() {
        close(descriptor)
        if let temporary { unlink(temporary) }
    }

    /// True if what has the name now is the same content, byte for byte.
    func isInPlace() throws(AgentFailure) -> Bool {
        let present = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard present >= 0 else { return false }
        defer { close(present) }
        var info = stat()
        guard fstat(present, &info) == 0, FilePath.kind(info.st_mode) == .file, Int64(info.st_size) == size else { return false }
        var ours = [UInt8](repeating: 0, count: 1 << 16)
        var theirs = ours
        var place: Int64 = 0
        while place < size {
            let count = pread(descriptor, &ours, ours.count, off_t(place))
            guard count > 0, pread(present, &theirs, count, off_t(place)) == count, ours[..<count] == theirs[..<count] else {
                return false
            }
            place += Int64(count)
        }
        return true
    }

    /// Where the new content goes: through links to what they name, and the mode of what is there.
    private static func target(_ path: String) throws(AgentFailure) -> (String, mode_t?) {
        var info = stat()
        guard lstat(path, &info) == 0 else {
            guard errno == ENOENT else { throw FilePath.failure(.last, "written", path) }
            guard path.utf8.last != UInt8(ascii: "/") else {
                throw AgentFailure(.badRequest, "path: '\(path)' ends in '/': expected the name of a file")
            }
            return (path, nil)
        }
        var target = path
        if FilePath.kind(info.st_mode) == .link {
            guard let resolved = realpath(path, nil) else {
                throw AgentFailure(
                    .badRequest, "'\(path)' is a link to something that does not exist. Remove the link or write to its target.")
            }
            defer { free(resolved) }
            target = String(cString: resolved)
            guard stat(target, &info) == 0 else { throw FilePath.failure(.last, "written", path) }
        }
        switch FilePath.kind(info.st_mode) {
        case .file: return (target, info.st_mode & 0o777)
        case .directory: throw AgentFailure(.badRequest, "'\(path)' is a directory and cannot be written as a file.")
        case let kind:
            throw AgentFailure(.badRequest, "'\(path)' is a \(kind.rawValue), not a regular file, and cannot be written.")
        }
    }

    private static func directory(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func makeDirectories(_ path: String) throws(AgentFailure) {
        var info = stat()
        if stat(path, &info) == 0 {
            guard FilePath.kind(info.st_mode) == .directory else {
                throw FilePath.failure(SystemError(ENOTDIR), "used as a directory", path)
            }
            return
        }
        guard errno == ENOENT else { throw FilePath.failure(.last, "reached", path) }
        try makeDirectories(directory(of: path))
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw FilePath.failure(.last, "created", path) }
    }

    private static func temporaryName(_ path: String) -> String {
        let parent = directory(of: path)
        return (parent == "/" ? "" : parent) + "/.slipway-\(getpid())-\(String(UInt64.random(in: 0...(.max)), radix: 36))"
    }
}

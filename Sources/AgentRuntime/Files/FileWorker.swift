import AgentProtocol
import FoundationEssentials
import Glibc
import NIOCore

/// `slipway-agent files`: does the workspace's file work as the workload, with the workload's rights and no others.
///
/// A path therefore needs no checks against leaving the home: whatever it reaches, a command of the workload reaches too.
struct FileWorker {
    let socket: WorkerSocket

    /// Serves requests on descriptor 3 until the agent closes it.
    static func main() -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        umask(0o022)
        // A pattern such as ((a{1,200}){1,200}){1,200} may not eat the workspace's memory.
        var memory = rlimit(rlim_cur: 1 << 30, rlim_max: 1 << 30)
        setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &memory)
        let worker = FileWorker(socket: WorkerSocket(descriptor: 3))
        while true {
            do { try worker.serve() } catch { return 0 }
        }
    }

    private func serve() throws {
        let frame = try socket.receive()
        guard frame.kind == .request else { throw WorkerSocket.Failure.malformed }
        let request = try WireJSON.decode(WorkerRequest.self, from: frame.payload)
        do {
            switch request.operation {
            case .read: try FileReading(socket: socket).run(request)
            case .write: try FileWriting(socket: socket).run(request)
            case .list: try socket.send(.result, json: try FileListing.read(request))
            case .search: try socket.send(.result, json: try FileSearch.run(request))
            }
        } catch let failure as AgentFailure {
            try socket.send(.failure, json: failure)
        }
    }
}

/// Paths as they come from a model.
enum FilePath {
    static func check(_ path: String) throws(AgentFailure) -> String {
        guard !path.isEmpty else {
            throw AgentFailure(.badRequest, "path: expected the path of a file, relative to the workspace's home or absolute")
        }
        guard !path.utf8.contains(0) else { throw AgentFailure(.badRequest, "path: expected no NUL character") }
        guard path.utf8.count < 4096 else { throw AgentFailure(.badRequest, "path: expected at most 4095 bytes") }
        return path
    }

    static func failure(_ error: SystemError, _ what: String, _ path: String) -> AgentFailure {
        let code: AgentFailure.Code =
            switch error.number {
            case ENOENT, ENOTDIR: .notFound
            case EACCES, EPERM, EROFS: .denied
            case ENOSPC, EDQUOT: .noSpace
            case ENAMETOOLONG, ELOOP, EISDIR, EINVAL: .badRequest
            case EFBIG: .tooLarge
            default: .internal
            }
        return AgentFailure(code, "'\(path)' cannot be \(what): \(error.text).")
    }

    static func kind(_ mode: mode_t) -> FileEntry.Kind {
        switch mode & S_IFMT {
        case S_IFREG: .file
        case S_IFDIR: .directory
        case S_IFLNK: .link
        case S_IFIFO: .fifo
        case S_IFSOCK: .socket
        case S_IFBLK, S_IFCHR: .device
        default: .other
        }
    }

    static func modified(_ info: stat) -> Date {
        Date(timeIntervalSince1970: Double(info.st_mtim.tv_sec) + Double(info.st_mtim.tv_nsec) / 1e9)
    }
}

struct FileReading {
    let socket: WorkerSocket

    /// Result with the `FileInfo`, data, end.
    func run(_ request: WorkerRequest) throws {
        let path = try FilePath.check(request.path)
        let offset = request.offset ?? 0
        guard offset >= 0 else { throw AgentFailure(.badRequest, "offset: expected 0 or more") }
        // Not blocking: opening a fifo would wait for its writer.
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw FilePath.failure(.last, "read", path) }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FilePath.failure(.last, "read", path) }
        switch FilePath.kind(info.st_mode) {
        case .file: break
        case .directory: throw AgentFailure(.badRequest, "'\(path)' is a directory. List it instead.")
        case let kind: throw AgentFailure(.badRequest, "'\(path)' is a \(kind.rawValue), not a regular file, and cannot be read.")
        }
        try socket.send(
            .result, json: FileInfo(size: Int64(info.st_size), modifiedAt: FilePath.modified(info), mode: info.st_mode & 0o7777))
        try copy(descriptor, from: offset, upTo: request.limit ?? .max)
        try socket.send(.end)
    }

    /// Up to the end of the file or the limit. A file that fails in the middle ends the worker: the agent sees a cut answer.
    private func copy(_ descriptor: Int32, from offset: Int64, upTo limit: Int64) throws {
        var place = offset
        var left = limit
        while left > 0 {
            var chunk = ByteBuffer()
            let wanted = Int(min(Int64(WorkerFrame.chunk), left))
            let got = chunk.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted) {
                max(0, pread(descriptor, $0.baseAddress!, wanted, off_t(place)))
            }
            if got == 0 { return }
            try socket.send(.data, chunk)
            place += Int64(got)
            left -= Int64(got)
        }
    }
}

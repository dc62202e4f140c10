import AgentProtocol
import Glibc

/// Looks for a pattern in the files below a directory, with bounds on everything: hits, files, bytes, time.
struct FileSearch {
    static let mostFiles = 50_000
    static let mostBytes = 1 << 30
    static let mostFileBytes = 16 << 20
    static let mostNanoseconds: UInt64 = 10_000_000_000
    static let mostLine = 400

    private let query: SearchQuery
    private let pattern: SearchPattern
    private let limit: Int
    private let deadline: UInt64
    private var result = SearchResult(hits: [], filesSearched: 0)
    private var bytes = 0
    private var seen = 0
    private var buffer: UnsafeMutableRawBufferPointer

    static func run(_ request: WorkerRequest) throws(AgentFailure) -> SearchResult {
        guard let query = request.search else { throw AgentFailure(.badRequest, "pattern: expected one") }
        let path = try FilePath.check(query.path)
        var search = try FileSearch(query)
        defer { search.buffer.deallocate() }
        var info = stat()
        guard stat(path, &info) == 0 else { throw FilePath.failure(.last, "searched", path) }
        switch FilePath.kind(info.st_mode) {
        case .directory: search.searchDirectory(path, below: "", depth: 0)
        case .file: search.searchFile(path, named: path)
        case let kind: throw AgentFailure(.badRequest, "'\(path)' is a \(kind.rawValue) and cannot be searched.")
        }
        return search.result
    }

    private init(_ query: SearchQuery) throws(AgentFailure) {
        if let glob = query.glob {
            guard !glob.utf8.contains(0), glob.utf8.count <= 1000 else {
                throw AgentFailure(.badRequest, "glob: expected at most 1000 bytes and no NUL character")
            }
        }
        pattern = try SearchPattern(query.pattern, literal: query.literal, ignoreCase: query.ignoreCase)
        self.query = query
        limit = min(max(query.limit, 1), 1000)
        deadline = monotonicNanoseconds() + Self.mostNanoseconds
        buffer = .allocate(byteCount: Self.mostFileBytes + 1, alignment: 16)
    }

    private var isOver: Bool { result.truncated != nil }

    /// By name, hidden version control left out, never through links.
    private mutating func searchDirectory(_ path: String, below prefix: String, depth: Int) {
        guard depth < 64, let names = DirectoryNames.read(path, limit: Self.mostFiles) else { return }
        for name in names.names {
            if isOver { return }
            seen += 1
            if seen > Self.mostFiles {
                return result.truncated = "more than \(Self.mostFiles) files and directories: name a smaller path"
            }
            if monotonicNanoseconds() > deadline { return result.truncated = "10 seconds were over: name a smaller path or a glob" }
            var info = stat()
            let full = path + "/" + name
            guard lstat(full, &info) == 0 else { continue }
            switch FilePath.kind(info.st_mode) {
            case .directory: if name != ".git" { searchDirectory(full, below: prefix + name + "/", depth: depth + 1) }
            case .file: if matchesGlob(prefix + name) { searchFile(full, named: prefix + name) }
            default: break
            }
        }
    }

    private func matchesGlob(_ path: String) -> Bool {
        guard let glob = query.glob else { return true }
        if glob.contains("/") {
            return fnmatch(glob, path, 0) == 0 || (glob.hasPrefix("**/") && fnmatch(String(glob.dropFirst(3)), path, 0) == 0)
        }
        return fnmatch(glob, String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...]), 0) == 0
    }

    private mutating func searchFile(_ path: String, named name: String) {
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var count = 0
        while count < Self.mostFileBytes {
            let got = read(descriptor, buffer.baseAddress! + count, Self.mostFileBytes - count)
            if got < 0 && errno == EINTR { continue }
            if got <= 0 { break }
            count += got
            // A file with a NUL near its beginning is not text.
            if count <= got, memchr(buffer.baseAddress!, 0, min(count, 8192)) != nil { return }
        }
        result.filesSearched += 1
        bytes += count
        search(UnsafeRawBufferPointer(rebasing: buffer[..<count]), named: name)
        if bytes > Self.mostBytes, !isOver { result.truncated = "1 GiB was searched: name a smaller path or a glob" }
    }

    private mutating func search(_ text: UnsafeRawBufferPointer, named name: String) {
        guard let base = text.baseAddress else { return }
        var place = 0
        var line = 1
        var counted = 0
        while place < text.count, let hit = pattern.firstMatch(in: text, from: place) {
            if result.hits.count >= limit { return result.truncated = "more than \(limit) hits" }
            line += Lines.count(UnsafeRawBufferPointer(rebasing: text[counted..<hit]))
            let start = Lines.start(of: hit, in: text)
            let end = memchr(base + hit, 10, text.count - hit).map { UnsafeRawPointer($0) - base } ?? text.count
            counted = hit
            let shown = text[start..<min(end, start + Self.mostLine)]
            result.hits.append(SearchHit(path: name, line: line, text: String(decoding: shown, as: UTF8.self)))
            place = end + 1
            if monotonicNanoseconds() > deadline { return result.truncated = "10 seconds were over: name a smaller path or a glob" }
        }
    }
}

private enum Lines {
    static func count(_ text: UnsafeRawBufferPointer) -> Int {
        var count = 0
        for byte in text where byte == 10 { count += 1 }
        return count
    }

    static func start(of place: Int, in text: UnsafeRawBufferPointer) -> Int {
        var start = place
        while start > 0, text[start - 1] != 10 { start -= 1 }
        return start
    }
}

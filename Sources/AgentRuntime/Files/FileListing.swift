import AgentProtocol
import Glibc

extension FileListing {
    /// Names of one directory that are looked at; more would not be read by anybody.
    private static let mostNames = 50_000

    /// Depth first, by name, never through links.
    static func read(_ request: WorkerRequest) throws(AgentFailure) -> FileListing {
        let path = try FilePath.check(request.path)
        let depth = min(max(request.depth ?? 1, 1), 32)
        let limit = Int(min(max(request.limit ?? 1000, 1), 10_000))
        var info = stat()
        guard stat(path, &info) == 0 else { throw FilePath.failure(.last, "listed", path) }
        guard FilePath.kind(info.st_mode) == .directory else {
            throw AgentFailure(
                .badRequest, "'\(path)' is a \(FilePath.kind(info.st_mode).rawValue), not a directory. Read it instead.")
        }
        var listing = FileListing(entries: [])
        guard listing.add(path, below: "", depth: depth, limit: limit) else { throw FilePath.failure(.last, "listed", path) }
        return listing
    }

    /// False, with errno, if the directory cannot be read.
    private mutating func add(_ directory: String, below prefix: String, depth: Int, limit: Int) -> Bool {
        guard let names = DirectoryNames.read(directory, limit: Self.mostNames) else { return false }
        if names.isCut { truncated = "more than \(Self.mostNames) names in one directory" }
        for name in names.names {
            guard entries.count < limit else {
                truncated = "more than \(limit) entries"
                return true
            }
            var info = stat()
            let path = directory + "/" + name
            guard lstat(path, &info) == 0 else { continue }
            let kind = FilePath.kind(info.st_mode)
            entries.append(
                FileEntry(
                    path: prefix + name, kind: kind, size: Int64(info.st_size), modifiedAt: FilePath.modified(info),
                    mode: info.st_mode & 0o7777, target: kind == .link ? Self.linkTarget(path) : nil))
            if kind == .directory, depth > 1 { _ = add(path, below: prefix + name + "/", depth: depth - 1, limit: limit) }
        }
        return true
    }

    private static func linkTarget(_ path: String) -> String? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = bytes.withUnsafeMutableBytes { readlink(path, $0.baseAddress!, $0.count) }
        return count >= 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}

/// A directory's names, sorted.
struct DirectoryNames {
    var names: [String]
    var isCut: Bool

    /// Nil, with errno, if it cannot be read.
    static func read(_ path: String, limit: Int) -> DirectoryNames? {
        guard let stream = opendir(path) else { return nil }
        defer { closedir(stream) }
        var result = DirectoryNames(names: [], isCut: false)
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            guard result.names.count < limit else {
                result.isCut = true
                break
            }
            result.names.append(name)
        }
        result.names.sort()
        return result
    }
}

import Core
import Foundation

/// Files that nobody else may read.
enum PrivateFile {
    /// Fails when it exists.
    static func create(_ path: String, text: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw AppError(.unavailable, "The file \(path) cannot be made: \(String(cString: strerror(errno))).")
        }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try handle.write(contentsOf: Data(text.utf8))
        try handle.synchronize()
    }

    /// Puts a new file in the place of another, or of none, all at once: a reader sees the old text or the new one, also after a
    /// crash. It keeps the owner; the mode is 0600 whatever it was.
    static func replace(_ path: String, text: String) throws {
        // What a link names is replaced, not the link.
        let real = realpath(path, nil).map { pointer in
            defer { free(pointer) }
            return String(cString: pointer)
        }
        let path = real ?? path
        let draft = "\(path).new"
        unlink(draft)
        try create(draft, text: text)
        var status = stat()
        if stat(path, &status) == 0, chown(draft, status.st_uid, status.st_gid) != 0 {
            unlink(draft)
            throw failure("be given its owner", path)
        }
        guard rename(draft, path) == 0 else { throw failure("be replaced", path) }
        let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(folder) }
        guard folder >= 0, fsync(folder) == 0 else { throw failure("be flushed", path) }
    }

    private static func failure(_ what: String, _ path: String) -> AppError {
        AppError(.unavailable, "The file \(path) cannot \(what): \(String(cString: strerror(errno))).")
    }
}

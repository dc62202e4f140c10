import Core
import Foundation

/// A lock on a folder that ends with the process, however that ends.
final class FolderLock: Sendable {
    private let descriptor: Int32

    /// - Throws: `unavailable` with the process that holds it.
    init(_ path: String) throws {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw ClusterFolder.failure("cannot open", path) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            var text = [UInt8](repeating: 0, count: 20)
            let count = read(descriptor, &text, 20)
            let holder = String(decoding: text.prefix(max(0, count)), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            close(descriptor)
            throw AppError(
                .unavailable,
                "Another server (process \(holder.isEmpty ? "unknown" : holder)) uses \((path as NSString).deletingLastPathComponent). Stop it, or choose another --data-dir.",
                field: "data-dir", retry: .after(.seconds(1)))
        }
        ftruncate(descriptor, 0)
        let text = Array("\(getpid())\n".utf8)
        pwrite(descriptor, text, text.count, 0)
    }

    deinit { close(descriptor) }
}

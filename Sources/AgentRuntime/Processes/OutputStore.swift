import Glibc
import NIOConcurrencyHelpers

/// The ring files of commands: named by the call's number, kept within bounds, gone with their sandbox.
struct OutputStore: Sendable {
    let directory: String
    private struct Ahead {
        /// The file of the call that is probably next, made ahead: making one waits for the file system.
        var made: (number: UInt64, descriptor: Int32)?
        var lastTaken: UInt64 = 0
    }

    private let ahead = NIOLockedValueBox(Ahead())

    /// - Parameter fresh: A new sandbox: what an earlier one wrote goes.
    init(directory: String, fresh: Bool) throws {
        self.directory = directory
        guard mkdir(directory, 0o700) == 0 || errno == EEXIST else { throw SystemError.last }
        if fresh { for name in Self.names(directory) { unlink(directory + "/" + name) } }
    }

    func path(_ number: UInt64) -> String { "\(directory)/\(number).ring" }

    /// The new, empty file of a call that has not begun.
    func create(_ number: UInt64) throws -> Int32 {
        // Under the lock, so that nobody takes away a name that was just given out.
        try ahead.withLockedValue { ahead in
            ahead.lastTaken = max(ahead.lastTaken, number)
            if let made = ahead.made {
                ahead.made = nil
                if made.number == number { return made.descriptor }
                close(made.descriptor)
                remove(made.number)
            }
            return try make(number, O_TRUNC)
        }
    }

    /// Makes the file of a call that has not come yet. Whether that works is seen when it comes.
    func prepare(_ number: UInt64) {
        guard ahead.withLockedValue({ $0.made == nil && $0.lastTaken < number }), let descriptor = try? make(number, O_EXCL) else {
            return
        }
        let isWanted = ahead.withLockedValue { ahead in
            guard ahead.made == nil, ahead.lastTaken < number else { return false }
            ahead.made = (number, descriptor)
            return true
        }
        // It came meanwhile and has the file by its name.
        if !isWanted { close(descriptor) }
    }

    private func make(_ number: UInt64, _ flag: Int32) throws -> Int32 {
        let descriptor = open(path(number), O_RDWR | O_CREAT | flag | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemError.last }
        return descriptor
    }

    /// A file with the given content that no longer has a name; positioned at its beginning.
    func input(_ number: UInt64, _ bytes: some Collection<UInt8>) throws -> Int32 {
        let path = "\(directory)/\(number).in"
        let writer = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard writer >= 0 else { throw SystemError.last }
        defer {
            close(writer)
            unlink(path)
        }
        try writeAll(writer, bytes)
        let reader = open(path, O_RDONLY | O_CLOEXEC)
        guard reader >= 0 else { throw SystemError.last }
        return reader
    }

    func remove(_ number: UInt64) { unlink(path(number)) }

    /// What a file takes on the disk.
    func bytesOnDisk(_ number: UInt64) -> Int64 {
        var info = stat()
        return stat(path(number), &info) == 0 ? Int64(info.st_blocks) * 512 : 0
    }

    func freeBytes() -> Int64 {
        var info = statvfs()
        return statvfs(directory, &info) == 0 ? Int64(info.f_bavail) * Int64(info.f_frsize) : 0
    }

    /// Of which calls there are files: not of the one that has not come yet.
    func numbers() -> [UInt64] {
        let ahead = ahead.withLockedValue { $0.made?.number }
        return Self.names(directory).compactMap { $0.hasSuffix(".ring") ? UInt64($0.dropLast(5)) : nil }.filter { $0 != ahead }
    }

    private static func names(_ directory: String) -> [String] { DirectoryNames.read(directory, limit: .max)?.names ?? [] }
}

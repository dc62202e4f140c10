import Core
import Glibc

/// A request body that is read from a file while it is sent, as fast as the other side takes it: of a file of any size no more is in
/// memory than one buffer.
package final class UploadFile: Sendable {
    package let size: Int
    private let descriptor: Int32

    /// - Throws: `bad_request` when it cannot be opened or is no plain file.
    package convenience init(path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw AppError(.badRequest, "the file \(path) cannot be read: \(String(cString: strerror(errno)))", field: "body")
        }
        do { try self.init(descriptor: descriptor) } catch {
            close(descriptor)
            throw error
        }
    }

    /// Takes the descriptor over. What is sent is the whole file, wherever the descriptor stands.
    package init(descriptor: Int32) throws {
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
            throw AppError(.badRequest, "a request body can be sent from a plain file only", field: "body")
        }
        self.descriptor = descriptor
        size = Int(info.st_size)
    }

    deinit { close(descriptor) }

    /// - Returns: how many bytes were read; 0 at the end, nil when it failed.
    func read(at offset: Int, into buffer: UnsafeMutableRawPointer, upTo count: Int) -> Int? {
        while true {
            let got = pread(descriptor, buffer, count, off_t(offset))
            if got >= 0 { return got }
            if errno != EINTR { return nil }
        }
    }
}

import Core
import Foundation

/// The data directory of a server that root starts. It stays root's, so that nobody else can put another folder in the place of
/// those that the sandboxes' launcher trusts; what the server writes is given to it.
struct DataDirectory {
    let path: String

    /// - Throws: `unavailable` when it cannot be made, or is another user's.
    func prepare() throws {
        try Self.make(path)
        var status = stat()
        guard stat(path, &status) == 0 else { throw failure("looked at", path) }
        guard status.st_uid == 0 else {
            let owner = getpwuid(status.st_uid).map { String(cString: $0.pointee.pw_name) } ?? "\(status.st_uid)"
            throw AppError(
                .unavailable,
                "The data directory \(path) belongs to the user \(owner): start the server as that user, or choose another --data-dir.",
                field: "data-dir")
        }
        // Others may pass through, by name only; what must be private is so by itself.
        guard chmod(path, (status.st_mode & 0o7777 & ~0o022) | 0o711) == 0 else { throw failure("changed", path) }
    }

    /// Gives one of its files away.
    func give(_ name: String, to account: ServerAccount) throws {
        let descriptor = open(path + "/" + name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        defer { close(descriptor) }
        guard descriptor >= 0, fchown(descriptor, account.uid, account.gid) == 0 else {
            throw failure("given away", path + "/" + name)
        }
    }

    /// Makes one of its folders where it is missing; root's, unless it is to be the account's.
    func makeFolder(_ name: String, mode: mode_t, owner: ServerAccount? = nil) throws {
        let folder = path + "/" + name
        guard mkdir(folder, mode) == 0 || errno == EEXIST else { throw failure("made", folder) }
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        defer { close(descriptor) }
        guard descriptor >= 0, fchmod(descriptor, mode) == 0 else { throw failure("changed", folder) }
        if let owner, fchown(descriptor, owner.uid, owner.gid) != 0 { throw failure("given away", folder) }
    }

    /// For any server: makes it where it is missing.
    static func make(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
        } catch {
            throw AppError(
                .unavailable, "The data directory \(path) cannot be made; choose another with --data-dir.", field: "data-dir",
                cause: error)
        }
    }

    private func failure(_ what: String, _ path: String) -> AppError {
        AppError(.unavailable, "\(path) cannot be \(what): \(String(cString: strerror(errno))).", field: "data-dir")
    }
}

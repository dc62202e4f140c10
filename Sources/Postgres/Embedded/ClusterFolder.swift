import Core
import Foundation

/// The folder of an embedded cluster, and as which user the cluster runs.
///
/// `data/` is PostgreSQL's own, `run/` holds its socket, `password` the password of the database user, `lock` who uses the folder,
/// `postgres.log` what PostgreSQL has to say.
struct ClusterFolder: Sendable {
    let path: String
    /// The user PostgreSQL runs as: our own, or an unprivileged one when we are root.
    let user: SystemUser
    let socketDirectory: String
    /// Set when folders on the way are closed to that user (a data directory below `/root`): it sees this folder elsewhere.
    let view: FolderView?

    var data: String { path + "/data" }
    var password: String { path + "/password" }
    var lock: String { path + "/lock" }
    var log: String { path + "/postgres.log" }

    /// Creates what is missing.
    ///
    /// - Throws: `unavailable`, naming the folder that cannot be used, why, and what to do.
    static func prepare(_ given: String) throws -> ClusterFolder {
        let path = URL(fileURLWithPath: given).standardizedFileURL.path
        let user = try SystemUser.forCluster(at: path + "/data")
        // Root's own folders must let the other user through.
        try createFolder(path, mode: user.isOther ? 0o711 : 0o700)
        let closed = user.isOther ? try closedFolder(to: path, for: user) : nil
        let folder = ClusterFolder(
            path: path, user: user, socketDirectory: socketDirectory(for: path, uid: user.uid),
            view: closed.map { FolderView(folder: path, user: user, closed: $0) })
        try folder.prepareSocketDirectory()
        return folder
    }

    /// A socket's path holds at most 107 bytes; a deep folder gets a short one elsewhere.
    static func socketDirectory(for path: String, uid: UInt32) -> String {
        let natural = path + "/run"
        guard (natural + "/.s.PGSQL.5432").utf8.count > 107 else { return natural }
        let digest = path.utf8.reduce(into: UInt64(0xCBF2_9CE4_8422_2325)) { $0 = ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        return "/tmp/slipway-pg-\(uid)-\(String(digest, radix: 16))"
    }

    private func prepareSocketDirectory() throws {
        if mkdir(socketDirectory, 0o700) == 0 {
            if user.isOther, chown(socketDirectory, user.uid, user.gid) != 0 { throw Self.failure("cannot own", socketDirectory) }
            return
        }
        var status = stat()
        guard errno == EEXIST, lstat(socketDirectory, &status) == 0 else { throw Self.failure("cannot create", socketDirectory) }
        guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == user.uid, status.st_mode & 0o077 == 0 else {
            throw AppError(
                .unavailable,
                "The folder \(socketDirectory) must be a private folder (mode 0700) of the user \(user.name). Remove it and try again."
            )
        }
    }

    private static func createFolder(_ path: String, mode: mode_t) throws {
        if mkdir(path, mode) == 0 {
            chmod(path, mode)
            return
        }
        if errno == ENOENT {
            let parent = (path as NSString).deletingLastPathComponent
            try createFolder(parent, mode: mode)
            return try createFolder(path, mode: mode)
        }
        guard errno == EEXIST else { throw failure("cannot create", path) }
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw AppError(.unavailable, "\(path) is not a folder.", field: "data-dir")
        }
    }

    /// What PostgreSQL calls a path of ours.
    func inside(_ path: String) -> String {
        guard let view, path.hasPrefix(view.folder + "/") else { return path }
        return view.place + path.dropFirst(view.folder.count)
    }

    /// The first folder on the way that does not let the database's user pass.
    private static func closedFolder(to path: String, for user: SystemUser) throws -> String? {
        var folder = path
        var status = stat()
        if stat(path, &status) == 0, status.st_uid == geteuid(), status.st_mode & 0o001 == 0 {
            chmod(path, status.st_mode & 0o777 | 0o011)
        }
        while true {
            guard stat(folder, &status) == 0 else { throw failure("cannot look at", folder) }
            let passes =
                status.st_uid == user.uid
                ? status.st_mode & 0o100 != 0
                : status.st_gid == user.gid ? status.st_mode & 0o010 != 0 : status.st_mode & 0o001 != 0
            guard passes else { return folder }
            if folder == "/" { return nil }
            folder = (folder as NSString).deletingLastPathComponent
        }
    }

    static func failure(_ what: String, _ path: String) -> AppError {
        AppError(.unavailable, "The embedded database \(what) \(path): \(String(cString: strerror(errno))).", field: "data-dir")
    }
}

/// A folder that a program sees at another place, where folders on the way do not let it pass.
struct FolderView: Sendable {
    var folder: String
    var user: SystemUser
    var closed: String
    /// Empty on every Debian, and hidden from this one program only.
    var place = "/mnt"

    /// For machines where even root may not make such a view.
    var refusal: AppError {
        AppError(
            .unavailable,
            """
            The folder \(closed) is closed to the user \(user.name), as whom the database runs when the server is started by root. \
            Run: chmod o+x \(closed); or choose another --data-dir.
            """, field: "data-dir")
    }
}

/// A user of the machine, by its passwd entry (initdb refuses to run without one).
struct SystemUser: Sendable, Equatable {
    var name: String
    var uid: UInt32
    var gid: UInt32

    var isOther: Bool { uid != geteuid() }
    static var current: SystemUser { .init(name: "", uid: geteuid(), gid: getegid()) }

    /// Our own user; when that is root: the owner of the cluster, else `slipway`, else Debian's `postgres`, else `nobody`.
    static func forCluster(at data: String) throws -> SystemUser {
        var status = stat()
        let exists = stat(data, &status) == 0
        if geteuid() != 0 {
            if exists, status.st_uid != geteuid() {
                let owner = find(uid: status.st_uid)?.name ?? "\(status.st_uid)"
                throw AppError(
                    .unavailable,
                    "\(data) belongs to the user \(owner). Start the server as root or as that user, or choose another --data-dir.")
            }
            guard let user = find(uid: geteuid()) else {
                throw AppError(
                    .unavailable, "The user \(geteuid()) has no passwd entry, which PostgreSQL needs. Use --postgres-url.")
            }
            return user
        }
        if exists, status.st_uid != 0, let owner = find(uid: status.st_uid) { return owner }
        guard let user = find(name: "slipway") ?? find(name: "postgres") ?? find(name: "nobody") else {
            throw AppError(
                .unavailable, "PostgreSQL does not run as root and there is no user postgres. Run: apt-get install postgresql")
        }
        return user
    }

    private static func find(name: String) -> SystemUser? {
        getpwnam(name).map { .init(name: String(cString: $0.pointee.pw_name), uid: $0.pointee.pw_uid, gid: $0.pointee.pw_gid) }
    }

    private static func find(uid: UInt32) -> SystemUser? {
        getpwuid(uid).map { .init(name: String(cString: $0.pointee.pw_name), uid: $0.pointee.pw_uid, gid: $0.pointee.pw_gid) }
    }
}

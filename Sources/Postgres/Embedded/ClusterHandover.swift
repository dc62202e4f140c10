import CShims
import Core
import Foundation
import Logging

extension EmbeddedPostgres {
    /// Gives an embedded cluster, or the place of one, to the user that the server is about to become. For root, before it gives
    /// its rights up; done again after an interruption.
    ///
    /// A cluster that runs as another user is stopped: the server starts it anew. Blocks; starts no thread.
    /// - Throws: `unavailable` when another server uses it, naming what cannot be given away.
    package static func handOver(dataDirectory given: String, toUser uid: uid_t, group gid: gid_t, logger: Logger) throws {
        let path = URL(fileURLWithPath: given).standardizedFileURL.path
        var status = stat()
        guard mkdir(path, 0o700) == 0 || errno == EEXIST, stat(path, &status) == 0 else {
            throw ClusterFolder.failure("cannot create", path)
        }
        let isOurs = { (status: stat) in status.st_uid == uid && status.st_gid == gid }
        if isOurs(status), stat(path + "/data", &status) != 0 || isOurs(status) { return }
        let lock = try FolderLock(path + "/lock")
        defer { withExtendedLifetime(lock) {} }
        if let file = PostmasterFile.read(data: path + "/data"), file.isPostmaster(of: path + "/data") {
            logger.notice("the embedded database is stopped, to run as another user from now on", metadata: ["pid": "\(file.pid)"])
            try stop(file.pid, path)
        }
        let isKnown = stat(path + "/data", &status) == 0
        // PostgreSQL's own user may have put anything there, but owns nothing else: what is somebody else's is left alone.
        let earlier: Set<uid_t> = isKnown ? [status.st_uid, 0, uid] : [0, uid]
        guard slipway_give_tree(path, uid, gid, Array(earlier), Int32(earlier.count)) == 0 else {
            throw ClusterFolder.failure("cannot give away", path)
        }
        if isKnown { logger.notice("the embedded database was given to the server's user", metadata: ["uid": "\(uid)"]) }
    }

    /// A postmaster that is not our child: fast, then by force.
    private static func stop(_ pid: pid_t, _ path: String) throws {
        let descriptor = slipway_pidfd_open(pid)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        for (signal, patience) in [(SIGINT, Int32(20_000)), (SIGQUIT, 5_000), (SIGKILL, 5_000)] {
            kill(pid, signal)
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&wait, 1, patience) == 1 { return }
        }
        throw ClusterFolder.failure("cannot stop the process \(pid) of", path)
    }
}

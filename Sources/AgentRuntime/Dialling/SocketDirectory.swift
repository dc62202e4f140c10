import Glibc
import NIOCore

/// The directory with one socket per server process; tells when names come and go.
final class SocketDirectory: Sendable {
    let path: String
    let changed: Bell

    init(path: String, loop: any EventLoop) {
        self.path = path
        changed = Bell(loop: loop)
    }

    /// Begins to watch. Without inotify the callers' own patience (a second) is all there is.
    func watch() {
        let notify = inotify_init1(Int32(IN_CLOEXEC))
        guard notify >= 0 else { return }
        let events = UInt32(IN_CREATE) | UInt32(IN_MOVED_TO) | UInt32(IN_ATTRIB) | UInt32(IN_DELETE)
        guard inotify_add_watch(notify, path, events) >= 0 else {
            close(notify)
            return
        }
        Threads.detach {
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = read(notify, &buffer, buffer.count)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return }
                self.changed.ring()
            }
        }
    }

    /// Names of sockets, at most 64.
    func names() -> [String] {
        (DirectoryNames.read(path, limit: 1000)?.names ?? []).filter { $0.hasSuffix(".sock") }.prefix(64).map { $0 }
    }

    func exists(_ name: String) -> Bool {
        var info = stat()
        return lstat(path + "/" + name, &info) == 0 && FilePath.kind(info.st_mode) == .socket
    }
}

import Foundation

/// The server of tools that documents try things out with.
///
/// Started without Foundation, and it closes what it inherits: a `Process` is at its end when nobody holds a socket any more that
/// all children inherit, and this one outlives others.
struct ToolServer {
    let url: String
    private let pid: pid_t

    struct Failed: Error {}

    static func start() throws -> ToolServer {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failed() }
        defer { close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        let words = ["/usr/bin/python3", Repository.root + "/Tests/clients/tools.py"]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        var pid: pid_t = 0
        let status = posix_spawn(&pid, words[0], &actions, nil, &arguments, &environment)
        close(ends[1])
        guard status == 0 else { throw Failed() }
        // Its first words are its address.
        var bytes = [UInt8](repeating: 0, count: 200)
        let count = read(ends[0], &bytes, bytes.count)
        let text = String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
        let server = ToolServer(url: text.trimmingCharacters(in: .whitespacesAndNewlines), pid: pid)
        guard text.hasPrefix("http://") else {
            server.stop()
            throw Failed()
        }
        return server
    }

    func stop() {
        // It may have been started with other signals blocked, as threads of this process have them.
        kill(pid, SIGKILL)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
    }
}

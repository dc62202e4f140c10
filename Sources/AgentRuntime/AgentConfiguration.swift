import Glibc

/// Where everything is: fixed inside a sandbox; by flags when it runs `--direct`, outside of one, in protocol tests.
struct AgentConfiguration: Sendable, Equatable {
    var zoneDescriptor: Int32 = 3
    var sandbox: String
    var start: Int
    var state = "/run/slipway/agent"
    var sockets = "/run/slipway/sock"
    var tokenFile = "/run/slipway/token"
    var home = "/home/work"
    /// What the zone starts as file worker.
    var program = "/opt/slipway/agent"
    var isDirect = false

    struct Refusal: Error { let text: String }

    static let usage = """
        slipway-agent is started by a workspace's sandbox and takes no arguments there.
        Outside of one, for tests of its protocol: slipway-agent --direct --state DIR --sockets DIR --token FILE --home DIR
        with SLIPWAY_ZONE_FD (the zone's socket) and SLIPWAY_SANDBOX_ID. Commands then run with YOUR rights, behind no wall.
        """

    init(arguments: [String], environment: [String: String]) throws(Refusal) {
        guard let sandbox = environment["SLIPWAY_SANDBOX_ID"], !sandbox.isEmpty, !sandbox.contains(where: \.isWhitespace) else {
            throw Refusal(text: "SLIPWAY_SANDBOX_ID is missing.\n" + Self.usage)
        }
        guard let descriptor = environment["SLIPWAY_ZONE_FD"].flatMap(Int32.init) else {
            throw Refusal(text: "SLIPWAY_ZONE_FD is missing.\n" + Self.usage)
        }
        self.sandbox = sandbox
        zoneDescriptor = descriptor
        start = environment["SLIPWAY_AGENT_START"].flatMap(Int.init) ?? 1
        if arguments.isEmpty { return }
        try readFlags(arguments)
    }

    private mutating func readFlags(_ arguments: [String]) throws(Refusal) {
        guard arguments.first == "--direct" else {
            throw Refusal(text: "'\(arguments[0])' is not allowed without --direct as the first argument.\n" + Self.usage)
        }
        isDirect = true
        program = "/proc/self/exe"
        var flags: [String: String] = [:]
        var rest = arguments.dropFirst()
        while let name = rest.popFirst() {
            guard ["--state", "--sockets", "--token", "--home"].contains(name), let value = rest.popFirst() else {
                throw Refusal(text: "'\(name)' is not a flag with a value.\n" + Self.usage)
            }
            flags[name] = value
        }
        guard let state = flags["--state"], let sockets = flags["--sockets"], let token = flags["--token"],
            let home = flags["--home"]
        else { throw Refusal(text: "--direct needs --state, --sockets, --token and --home.\n" + Self.usage) }
        (self.state, self.sockets, tokenFile, self.home) = (state, sockets, token, home)
        if let resolved = realpath("/proc/self/exe", nil) {
            program = String(cString: resolved)
            free(resolved)
        }
    }
}

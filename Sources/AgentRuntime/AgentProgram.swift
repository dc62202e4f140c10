import AgentProtocol
import CAgent
import Glibc
import NIOCore
import NIOPosix

/// `slipway-agent`: lives in a workspace's sandbox, dials the servers, and does what they ask through the zone.
package enum AgentProgram {
    /// - Returns: The exit status. 0 would end the sandbox; anything else has the agent started again.
    package static func run(arguments: [String], environment: [String: String]) async -> Int32 {
        if arguments == ["files"] { return FileWorker.main() }
        if arguments == ["--version"] {
            print("slipway-agent \(ProtocolVersion.software)")
            return 0
        }
        // First of all: nobody who shares the uid may look into this process, which holds the token.
        _ = cagent_hide()
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)  // a file at its limit is an error like a full disk
        umask(0o077)
        let log = AgentLog(loop: MultiThreadedEventLoopGroup.singleton.any())
        do {
            try await run(AgentConfiguration(arguments: arguments, environment: environment), log)
            return 1
        } catch let refusal as AgentConfiguration.Refusal {
            try? writeAll(2, Array("slipway-agent: \(refusal.text)\n".utf8))
            return 2
        } catch {
            log.error("ended: \((error as? SystemError)?.text ?? "\(error)")")
            return 1
        }
    }

    private static func run(_ configuration: AgentConfiguration, _ log: AgentLog) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let pool = BlockingPool(threads: FileWorkers.most + 2)
        let identity = AgentIdentity(
            token: try readToken(configuration.tokenFile), sandbox: configuration.sandbox, start: configuration.start,
            startedAt: ProcessTable.date(wallMilliseconds()))
        let (journal, ledger, isNewBoot) = try Journal.open(directory: configuration.state, boot: configuration.sandbox, pool: pool)
        let relay = EventRelay()
        let zone = ZoneClient(descriptor: configuration.zoneDescriptor) { relay.handle($0) }
        let processes = ProcessTable(
            ledger: ledger, journal: journal, outputs: try OutputStore(directory: configuration.state + "/out", fresh: isNewBoot),
            zone: zone, loop: group.any(), home: configuration.home, boot: configuration.sandbox, log: log)
        zone.begin()
        let version = try await zone.hello()
        guard version == 1 else {
            throw AgentConfiguration.Refusal(
                text:
                    "the zone speaks version \(version) of its wire, this agent 1: they are of different builds. Run: make tools agent"
            )
        }
        processes.adopt(try await zone.list())
        relay.begin(processes, log)

        let files = FileCalls(
            workers: FileWorkers(zone: zone, program: configuration.program, home: configuration.home, pool: pool),
            processes: processes, pool: pool)
        let routes = AgentRoutes(files: files, processes: processes, pool: pool, identity: identity, log: log)
        let directory = SocketDirectory(path: configuration.sockets, loop: group.any())
        await ServerDialler(directory: directory, routes: routes, identity: identity, group: group, log: log).run()
    }

    private static func readToken(_ path: String) throws -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SystemError.last }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1024)
        let count = read(descriptor, &bytes, bytes.count)
        guard count > 0 else { throw count == 0 ? SystemError(ENODATA) : SystemError.last }
        return String(decoding: bytes[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }
}

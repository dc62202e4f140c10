import CShims
import Core
import Foundation
import Glibc
import Logging

/// The provisioner's own process: `slipway-server provisioner`, started by the server with one socket, an empty environment and
/// no other descriptor. It knows no database and no key.
package struct ProvisionerDaemon: Sendable {
    /// The socket's descriptor in the daemon.
    package static let descriptor: Int32 = 3

    private let socket: FrameSocket
    private let sandbox: LocalSandbox
    private let logger: Logger

    /// The whole process. The first thread only waits: an asynchronous `main` ends it, and a thread that has ended keeps the uid it
    /// had, so that the process would look like root's for ever.
    package static func run(arguments: [String], logger: Logger) -> Never {
        // Nobody awaits it: it ends the process.
        Task.detached { exit(await main(arguments: arguments, logger: logger)) }
        while true { pause() }
    }

    /// Runs until the server closes its end or the launcher ends; sandboxes live on.
    ///
    /// The launcher keeps root's rights where the server has them; this process gives them up before it reads a request.
    /// - Parameter arguments: the `SandboxConfiguration` as JSON; a second word says that the launcher runs already.
    /// - Returns: the process's exit status.
    static func main(arguments: [String], logger: Logger) async -> Int32 {
        let socket = FrameSocket(descriptor)
        do {
            let isShared = arguments.count == 2 && arguments[1] == PrivilegedLauncher.word
            guard let text = arguments.first, arguments.count == 1 || isShared else {
                throw AppError(.badRequest, "The provisioner is started by slipway-server, with its configuration as JSON.")
            }
            let configuration = try JSONDecoder().decode(SandboxConfiguration.self, from: Data(text.utf8))
            // Without its launcher the daemon, no longer root, cannot make another: it ends, and the server starts both anew.
            let sandbox =
                isShared
                ? try LocalSandbox.open(configuration, launcher: PrivilegedLauncher.descriptor, logger: logger) { socket.close() }
                : try await LocalSandbox.open(configuration, logger: logger) { socket.close() }
            try dropRoot()
            await ProvisionerDaemon(socket: socket, sandbox: sandbox, logger: logger).run()
            return 0
        } catch {
            // The server gives this reason to whoever waits, and tries again with the next request.
            try? socket.send(ProvisionerMessage.fatal(ProvisionerFailure(error)))
            return 1
        }
    }

    init(socket: FrameSocket, sandbox: LocalSandbox, logger: Logger) {
        self.socket = socket
        self.sandbox = sandbox
        self.logger = logger
    }

    func run() async {
        await withDiscardingTaskGroup { tasks in
            tasks.addTask { await sandbox.run() }
            for await request in socket.values(ProvisionerRequest.self) {
                tasks.addTask { await answer(request) }
            }
            tasks.cancelAll()
        }
        sandbox.close()
    }

    private func answer(_ request: ProvisionerRequest) async {
        var watched: SandboxRecord?
        do {
            let message: ProvisionerMessage
            switch request.verb {
            case .probe: message = .capabilities(id: request.id, try await sandbox.probe())
            case .start(let spec):
                watched = try await sandbox.start(spec)
                message = .record(id: request.id, watched)
            case .stop(let record):
                try await sandbox.kill(record)
                message = .flag(id: request.id, true)
            case .delete(let workspace, let number):
                try await sandbox.remove(workspace: workspace, number: number)
                message = .flag(id: request.id, true)
            case .status(let workspace, let number):
                message = .record(id: request.id, try await sandbox.running(workspace: workspace, number: number))
            case .adopt(let record, let limits):
                let adopted = await sandbox.adopt(record, limits: limits)
                if adopted { watched = record }
                message = .flag(id: request.id, adopted)
            case .log(let workspace, let number):
                message = .text(id: request.id, try await sandbox.log(workspace: workspace, number: number))
            case .usage(let record): message = .usage(id: request.id, try await sandbox.usage(record))
            }
            tell(message)
        } catch {
            tell(.failure(id: request.id, ProvisionerFailure(error)))
        }
        // The task stays with the sandbox until it dies, or until the daemon ends.
        if let watched {
            let death = await sandbox.onDeath(watched)
            if !Task.isCancelled { tell(.death(death)) }
        }
    }

    private func tell(_ message: ProvisionerMessage) {
        do {
            try socket.send(message)
        } catch {
            logger.debug("a provisioner message was not delivered", metadata: ["error": "\(error)"])
        }
    }

    /// From root to an account without rights: `slipway` where it exists, else `nobody`.
    private static func dropRoot() throws {
        guard geteuid() == 0 else { return }
        guard let account = getpwnam("slipway") ?? getpwnam("nobody") else {
            throw AppError(.unavailable, "There is no account 'nobody' for the provisioner to run as.")
        }
        let error = slipway_give_up_root(account.pointee.pw_uid, account.pointee.pw_gid)
        guard error == 0 else {
            throw AppError(.unavailable, "The provisioner cannot give up root's rights: \(String(cString: strerror(-error))).")
        }
    }
}

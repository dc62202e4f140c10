import Core
import Foundation
import Logging
import NIOConcurrencyHelpers

/// A server process from its start to its end: what `slipway-server` runs.
package enum SlipwayServer {
    /// How far a server got before it had threads.
    package enum Beginning: Sendable {
        case prepared(Prepared)
        /// With this exit status; the log says why.
        case ended(Int32)
    }

    /// What has to happen on the process's first thread, before there is another: logging is set up, and root given up.
    package static func prepare(_ configuration: Configuration) -> Beginning {
        LineLogHandler.bootstrap(format: configuration.logFormat, level: configuration.logLevel)
        let logger = Logger(label: "slipway")
        var configuration = configuration
        do {
            let privileged = try Signals.held { try RootStart.prepare(&configuration, logger: logger) }
            return .prepared(Prepared(configuration: configuration, privileged: privileged, logger: logger))
        } catch is CancellationError {
            logger.notice("Stopped during the start.")
            return .ended(0)
        } catch {
            logger.critical("\(explanation(error))")
            return .ended(1)
        }
    }

    package struct Prepared: Sendable {
        let configuration: Configuration
        let privileged: PrivilegedLauncherOutcome?
        let logger: Logger
    }

    /// - Returns: the exit status: 0 after an ordered end, 1 when the start or a part failed.
    package static func main(_ prepared: Prepared) async -> Int32 {
        let (configuration, logger) = (prepared.configuration, prepared.logger)
        signal(SIGPIPE, SIG_IGN)
        let signals = Signals(logger: logger)
        await signals.trap()
        if prepared.privileged != nil {
            logger.notice("Started by root, running as \(ServerAccount.name).", metadata: ["uid": "\(geteuid())"])
        }
        let lifecycle = Lifecycle(
            plan: .slipway(drainDelay: configuration.drainDelay, grace: configuration.grace), logger: logger)
        signals.onSecond { lifecycle.hurry() }

        // Awaited below; a signal during the start cancels it.
        let start = Task {
            try await Startup(
                configuration: configuration, privileged: prepared.privileged, lifecycle: lifecycle, logger: logger,
                onHangup: { signals.onHangup($0) }
            ).run()
        }
        signals.onFirst { start.cancel() }
        var status: Int32 = 0
        do {
            try await start.value
            await withFirst({ await signals.first() }, { await lifecycle.failed() })
            if let failure = lifecycle.failure {
                logger.critical("\(explanation(failure))")
                status = 1
            }
        } catch is CancellationError {
            logger.notice("Stopped during the start.")
        } catch {
            logger.critical("\(explanation(error))")
            status = 1
        }
        await lifecycle.close()
        return status
    }

    /// One sentence for whoever started the server, the cause after it.
    private static func explanation(_ error: any Error) -> String {
        guard let error = error as? AppError else { return "\(error)" }
        return error.message + (error.detail.map { " [\($0)]" } ?? "") + (error.cause.map { " (\($0))" } ?? "")
    }

    /// Returns when either has; the other is left behind, for the process ends soon.
    private static func withFirst(_ a: @escaping @Sendable () async -> Void, _ b: @escaping @Sendable () async -> Void) async {
        let (ends, end) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(1))
        for wait in [a, b] {
            // Awaited by nobody: the one that is left ends with the process.
            Task {
                await wait()
                end.yield()
            }
        }
        var iterator = ends.makeAsyncIterator()
        await iterator.next()
    }
}

import Core
import Foundation
import Logging
import NIOConcurrencyHelpers

/// A PostgreSQL of our own: Debian's programs, a cluster in our data directory, a socket that only we can reach.
///
/// It runs in a session of its own, so Ctrl-C at our terminal does not reach it, and survives our death: the next start adopts it.
/// A postmaster that dies while we live is started again.
package final class EmbeddedPostgres: Sendable {
    package let connectionURL: Secret<String>
    private let cluster: Cluster
    private let logger: Logger
    private let state: NIOLockedValueBox<State>

    private struct State {
        var process: WatchedProcess
        var lock: FolderLock?
        var isStopping = false
        var watch: Task<Void, Never>?
    }

    package var processID: Int32 { state.withLockedValue { $0.process.pid } }

    /// Ready to be connected to when it returns: creates the cluster, starts it, or adopts the one that runs.
    ///
    /// - Parameters:
    ///   - dataDirectory: a folder of its own, made when missing.
    ///   - settings: PostgreSQL settings beyond ours, e.g. `["fsync": "off"]`; only for a server that is started here.
    ///   - isShared: for tests: several processes use it, none of them stops it.
    /// - Throws: `unavailable`, saying what is missing or in the way.
    package static func start(
        dataDirectory: String, logger: Logger, settings: [String: String] = [:], isShared: Bool = false
    ) async throws -> EmbeddedPostgres {
        let folder = try ClusterFolder.prepare(dataDirectory)
        var lock: FolderLock?
        while lock == nil {
            do { lock = try FolderLock(folder.lock) } catch {
                guard isShared else { throw error }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        let cluster = try await Cluster.open(folder, settings: settings, logger: logger)
        let adopted = try await cluster.adopt()
        let process = if let adopted { adopted } else { try await cluster.start() }
        return EmbeddedPostgres(cluster, process, lock: isShared ? nil : lock, logger: logger, isWatched: !isShared)
    }

    private init(_ cluster: Cluster, _ process: WatchedProcess, lock: FolderLock?, logger: Logger, isWatched: Bool) {
        self.cluster = cluster
        self.logger = logger
        connectionURL = cluster.connectionURL
        state = .init(State(process: process, lock: lock))
        // Awaited by `stop`.
        if isWatched { state.withLockedValue { $0.watch = Task { [weak self] in await self?.keepRunning() } } }
    }

    /// Ends all sessions and stops (PostgreSQL's "fast" mode); after `grace` without a checkpoint. Idempotent.
    package func stop(grace: Duration = .seconds(5)) async {
        let (process, watch) = state.withLockedValue { state in
            state.isStopping = true
            defer { state.watch = nil }
            return (state.process, state.watch)
        }
        await Cluster.stop(process, grace: grace)
        await watch?.value
        state.withLockedValue { $0.lock = nil }
    }

    private func keepRunning() async {
        var failures = 0
        while true {
            let process = state.withLockedValue { $0.process }
            await process.ended()
            if state.withLockedValue({ $0.isStopping }) { return }
            logger.error("the embedded database ended, it is started again", metadata: ["log": "\(cluster.folder.log)"])
            do {
                let next = try await cluster.start()
                failures = 0
                let isStopping = state.withLockedValue {
                    $0.process = next
                    return $0.isStopping
                }
                if isStopping { return await Cluster.stop(next, grace: .seconds(5)) }
            } catch {
                failures += 1
                logger.error("the embedded database does not start", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: PoolMachine.backOff(afterFailures: failures))
            }
        }
    }
}

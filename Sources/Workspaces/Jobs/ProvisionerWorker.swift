import Core
import Logging
import Postgres
import Provisioning
import ServiceLifecycle

/// Takes jobs for this machine from the queue and does them, several at a time.
package final class ProvisionerWorker: Service {
    private let queue: JobQueue
    private let runner: BuildRunner
    private let listener: PostgresListener?
    private let changes: WorkspaceChanges
    private let slots: Int
    private let logger: Logger

    /// - Parameter listener: hears of jobs that other servers queue; without one they are found by polling, within 2 s.
    package init(
        pool: PostgresPool, host: String, replica: ReplicaID, provisioner: any Provisioner, sessions: AgentSessions,
        changes: WorkspaceChanges, listener: PostgresListener?, slots: Int = 4, logger: Logger
    ) {
        queue = JobQueue(pool: pool, worker: replica, tags: [JobQueue.tag(host: host)])
        runner = BuildRunner(provisioner: provisioner, sessions: sessions, logger: logger)
        self.listener = listener
        self.changes = changes
        self.slots = slots
        self.logger = logger
    }

    /// Until it is cancelled or shut down: then it takes nothing new, and finishes what it has.
    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                for _ in 0..<self.slots { group.addTask { await self.work() } }
                group.addTask { await self.hear() }
            }
        }
    }

    private func hear() async {
        guard let listener else { return }
        for await _ in listener.listen(JobQueue.channel) { changes.jobs.ring() }
    }

    private func work() async {
        while !Task.isCancelled {
            do {
                guard let job = try await queue.claim() else {
                    await changes.jobs.wait(.seconds(2) + .milliseconds(.random(in: 0..<500)))
                    continue
                }
                // There may be more than this one.
                changes.jobs.ring()
                await perform(job)
            } catch {
                if Task.isCancelled { return }
                logger.warning("provisioner jobs cannot be read", metadata: ["error": "\(error)"])
                await changes.jobs.wait(.seconds(1))
            }
        }
    }

    /// Not cancelled half-way: a sandbox that was started is written down. Awaited here; the server's shutdown bounds it.
    private func perform(_ job: ClaimedJob) async {
        await Task {
            let (outcome, log) = await withTaskGroup(of: Void.self) { group in
                group.addTask { await self.beat(job) }
                defer { group.cancelAll() }
                return await self.runner.run(job)
            }
            await self.writeDown(job, outcome, log)
            self.changes.tell(job.workspace)
        }.value
    }

    private func writeDown(_ job: ClaimedJob, _ outcome: JobOutcome, _ log: [LogLine]) async {
        for attempt in 1...3 {
            do { return try await queue.complete(job, outcome, log) } catch {
                logger.warning(
                    "a build's outcome is not written down yet", metadata: ["workspace": "\(job.workspace)", "error": "\(error)"])
                if attempt < 3 { try? await Task.sleep(for: .milliseconds(300)) }
            }
        }
        // Whoever claims it next finds the sandbox.
        try? await queue.giveBack(job)
    }

    private func beat(_ job: ClaimedJob) async {
        while (try? await Task.sleep(for: .seconds(1))) != nil {
            if (try? await queue.touch(job)) == false { return }
        }
    }
}

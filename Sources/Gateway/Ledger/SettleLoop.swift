import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres

/// Settles calls in batches, again and again until the database has them. Its commits do not wait for the disk; what is not known
/// to be there yet is kept, and settled again should the database lose it in a crash.
final class SettleLoop: Sendable {
    private struct Unconfirmed {
        var n: Int64
        var settlements: [Settlement]
    }

    private let pool: PostgresPool
    private let chain: AuditChain
    private let logger: Logger
    private let unconfirmed = NIOLockedValueBox<[Unconfirmed]>([])
    private let onBooked = NIOLockedValueBox<(@Sendable ([Settlement]) -> Void)?>(nil)
    private let isGivingUp = NIOLockedValueBox(false)
    private let dropped = NIOLockedValueBox(0)
    private let batcher = NIOLockedValueBox<Batcher<Settlement?, Void>?>(nil)

    init(pool: PostgresPool, chain: AuditChain, logger: Logger) {
        self.pool = pool
        self.chain = chain
        self.logger = logger
        batcher.withLockedValue {
            $0 = Batcher(largest: 256) { [weak self] batch in
                if batch.contains(where: { $0 == nil }) { await chain.recheck(pool) }
                let settlements = batch.compactMap { $0 }
                if !settlements.isEmpty { await self?.perform(settlements) }
                return batch.map { _ in .success(()) }
            }
        }
        chain.onLoss { [weak self] in self?.resettle() }
    }

    /// What to do with those that were booked; they may have been before, too.
    func onBooked(_ action: @escaping @Sendable ([Settlement]) -> Void) { onBooked.withLockedValue { $0 = action } }

    var pending: Int { batcher.withLockedValue { $0 }?.count ?? 0 }

    /// How many were given up, or would be: another server's reaper books their holds.
    var unbooked: Int { pending + dropped.withLockedValue { $0 } }

    /// Returns at once; the settlement is booked soon.
    func settle(_ settlement: Settlement) { batcher.withLockedValue { $0 }?.post([settlement]) }

    /// Returns when it is booked; the disk may not have it yet.
    func settleAndWait(_ settlement: Settlement) async throws { try await batcher.withLockedValue { $0 }?.submit(settlement) }

    /// The database may have lost entries.
    func recheck() { batcher.withLockedValue { $0 }?.post([nil]) }

    /// Everything up to this number of the chain is on disk.
    func confirm(upTo n: Int64) { unconfirmed.withLockedValue { $0.removeAll { $0.n <= n } } }

    /// Returns when nothing is pending. After `giveUp` what the database does not take is dropped: the reaper of another replica settles
    /// it as unknown.
    func idle() async { await batcher.withLockedValue { $0 }?.idle() }
    func giveUp() { isGivingUp.withLockedValue { $0 = true } }

    private func resettle() {
        let lost = unconfirmed.withLockedValue { unconfirmed in
            defer { unconfirmed = [] }
            return unconfirmed.flatMap(\.settlements)
        }
        logger.warning("settling again what the database lost", metadata: ["calls": "\(lost.count)"])
        batcher.withLockedValue { $0 }?.post(lost)
    }

    private func perform(_ batch: [Settlement]) async {
        var pause = Duration.milliseconds(20)
        var failures = 0
        while true {
            do {
                let result = try await SettleTransaction(chain: chain, batch: batch).run(pool)
                if failures > 0 { logger.info("calls are settled again", metadata: ["calls": "\(batch.count)"]) }
                if result.lost > 0 {
                    logger.error("calls without an interception cannot be settled", metadata: ["calls": "\(result.lost)"])
                }
                for settlement in batch {
                    settlement.booking?.booked(result.booked.contains(settlement.subject) ? settlement.cost : nil)
                }
                let n = chain.head.n
                unconfirmed.withLockedValue { $0.append(Unconfirmed(n: n, settlements: batch)) }
                onBooked.withLockedValue { $0 }?(batch)
                return
            } catch let error as PostgresError where !error.isTransient && failures >= 3 {
                if batch.count > 1 {
                    for settlement in batch { await perform([settlement]) }
                } else {
                    logger.error(
                        "a call cannot be settled; its hold stays until it is looked into",
                        metadata: ["interception": "\(batch[0].interception)", "error": "\(error)"])
                }
                return
            } catch {
                if failures == 0 { logger.warning("calls cannot be settled yet", metadata: ["error": "\(error)"]) }
                failures += 1
                if isGivingUp.withLockedValue({ $0 }) {
                    dropped.withLockedValue { $0 += batch.count }
                    return
                }
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(1))
            }
        }
    }
}

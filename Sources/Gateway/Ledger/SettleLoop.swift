import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres

/// Settles calls in batches, again and again until the database has them: none is forgotten while the process lives. Its commits do not wait for the disk; what is not known
/// to be there yet is kept, and settled again should the database lose it in a crash.
final class SettleLoop: Sendable {
    private struct Unconfirmed {
        var n: Int64
        var settlements: [Settlement]
    }

    private struct Listener: Sendable { var heard: @Sendable ([Settlement]) -> Void }

    /// Calls that end together cost one transaction; a hold that stands so much longer is in nobody's way but that of a budget's last cents.
    private static let linger = Duration.milliseconds(10)

    private let pool: PostgresPool
    private let chain: AuditChain
    private let logger: Logger
    private let unconfirmed = NIOLockedValueBox<[Unconfirmed]>([])
    private let listener = NIOLockedValueBox<Listener?>(nil)
    private let isGivingUp = NIOLockedValueBox(false)
    private let dropped = NIOLockedValueBox(0)
    private let aside = NIOLockedValueBox(SettlementsAside())
    private let batcher = NIOLockedValueBox<Batcher<Settlement?, Void>?>(nil)

    init(pool: PostgresPool, chain: AuditChain, logger: Logger) {
        self.pool = pool
        self.chain = chain
        self.logger = logger
        batcher.withLockedValue {
            $0 = Batcher(largest: 256, linger: Self.linger) { [weak self] batch in
                guard let self else { return batch.map { _ in .success(()) } }
                if batch.contains(where: { $0 == nil }) {
                    await chain.recheck(pool)
                    await performAside()
                }
                let settlements = batch.compactMap { $0 }.filter { new in !aside.withLockedValue { $0.contains(new.interception) } }
                if !settlements.isEmpty { await perform(settlements) }
                return batch.map { result(of: $0) }
            }
        }
        chain.onLoss { [weak self] in self?.resettle() }
    }

    /// What to do with those that were booked; they may have been before, too.
    func onBooked(_ action: @escaping @Sendable ([Settlement]) -> Void) {
        listener.withLockedValue { $0 = Listener(heard: action) }
    }

    var pending: Int { (batcher.withLockedValue { $0 }?.count ?? 0) + aside.withLockedValue { $0.count } }

    /// How many were given up, or would be: another server's reaper books their holds.
    var unbooked: Int { pending + dropped.withLockedValue { $0 } }

    /// Returns at once; the settlement is booked soon.
    func settle(_ settlement: Settlement) {
        batcher.withLockedValue { $0 }?.post([settlement], isUrgent: settlement.booking != nil)
    }

    /// Returns when it is booked; the disk may not have it yet.
    ///
    /// - Throws: `unavailable` for one that the database refuses; it is tried again all the same.
    func settleAndWait(_ settlement: Settlement) async throws { try await batcher.withLockedValue { $0 }?.submit(settlement) }

    /// The database may have lost entries; and what was set aside and is due is tried again.
    func recheck() { batcher.withLockedValue { $0 }?.post([nil], isUrgent: true) }

    /// Everything up to this number of the chain is on disk.
    func confirm(upTo n: Int64) { unconfirmed.withLockedValue { $0.removeAll { $0.n <= n } } }

    /// Returns when nothing is pending but what was set aside. After `giveUp` what the database does not take is dropped: the reaper of another replica settles
    /// it as unknown.
    func idle() async { await batcher.withLockedValue { $0 }?.idle() }
    func giveUp() { isGivingUp.withLockedValue { $0 = true } }

    private func resettle() {
        let lost = unconfirmed.withLockedValue { unconfirmed in
            defer { unconfirmed = [] }
            return unconfirmed.flatMap(\.settlements)
        }
        logger.warning("settling again what the database lost", metadata: ["calls": "\(lost.count)"])
        batcher.withLockedValue { $0 }?.post(lost, isUrgent: true)
    }

    /// What the database refuses one by one is set aside, so that it does not keep the others.
    ///
    /// - Parameter failures: so far.
    private func perform(_ batch: [Settlement], failures: Int = 0) async {
        var pause = Duration.milliseconds(20)
        var failures = failures
        while true {
            do {
                try await write(batch)
                if failures > 0 { logger.info("calls are settled again", metadata: ["calls": "\(batch.count)"]) }
                return
            } catch let error as PostgresError where !error.isTransient && failures >= Self.patience {
                if batch.count > 1 {
                    for settlement in batch { await perform([settlement], failures: failures) }
                } else {
                    aside.withLockedValue { $0.put(batch[0], at: .now) }
                    logger.error(
                        "a call cannot be settled; it is tried again, and its hold stays until then",
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

    /// How often a batch may fail for a reason that does not pass by itself. One that does: another process booked a call of it in
    /// between, which the next look finds.
    private static let patience = 3

    private func write(_ batch: [Settlement]) async throws {
        let result = try await SettleTransaction(chain: chain, batch: batch).run(pool)
        if result.lost > 0 {
            logger.error("calls without an interception cannot be settled", metadata: ["calls": "\(result.lost)"])
        }
        if result.corrected > 0 {
            logger.notice(
                "another server had taken this one for dead and booked calls at their holds: they are corrected",
                metadata: ["calls": "\(result.corrected)"])
        }
        for settlement in batch {
            settlement.booking?.booked(result.booked.contains(settlement.subject) ? settlement.cost : nil)
        }
        let n = chain.head.n
        unconfirmed.withLockedValue { $0.append(Unconfirmed(n: n, settlements: batch)) }
        listener.withLockedValue { $0 }?.heard(batch)
    }

    // MARK: What was set aside

    /// Tries again what is due; to be called now and then.
    func tick(at now: ContinuousClock.Instant) {
        if aside.withLockedValue({ $0.markDue(at: now) }) { recheck() }
    }

    /// Tries all of it again now, once.
    func tryAgain() {
        if aside.withLockedValue({ $0.markAll() }) { recheck() }
    }

    private func performAside() async {
        for settlement in aside.withLockedValue({ $0.marked }) {
            do {
                try await write([settlement])
                aside.withLockedValue { $0.remove(settlement.interception) }
                logger.notice("a call is settled at last", metadata: ["interception": "\(settlement.interception)"])
            } catch {
                aside.withLockedValue { $0.put(settlement, at: .now) }
                logger.debug(
                    "a call still cannot be settled",
                    metadata: ["interception": "\(settlement.interception)", "error": "\(error)"])
            }
        }
    }

    /// Whoever waits for one of these is told that it is not booked.
    private func result(of settlement: Settlement?) -> Result<Void, any Error> {
        guard let settlement, aside.withLockedValue({ $0.contains(settlement.interception) }) else { return .success(()) }
        return .failure(AppError(.unavailable, "The call cannot be booked now; it is tried again.", retry: .now))
    }
}

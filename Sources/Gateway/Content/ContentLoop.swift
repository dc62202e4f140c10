import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres

/// Writes content in batches. Facts and money never wait for it: when the database is away and too much has gathered, content is
/// dropped, and counted; the call's digests remain.
final class ContentLoop: Sendable {
    static let mostPendingBytes = 256 << 20

    private let store: ContentStore
    private let logger: Logger
    private let dropped: Counter
    private let state = NIOLockedValueBox(State())
    private let batcher = NIOLockedValueBox<Batcher<ContentWrite, Void>?>(nil)

    private struct State {
        var pendingBytes = 0
        var isGivingUp = false
        var stored = RecentHashes()

        mutating func release(_ batch: [ContentWrite]) { for write in batch { pendingBytes -= write.size } }
    }

    init(store: ContentStore, metrics: Metrics, logger: Logger) {
        self.store = store
        self.logger = logger
        dropped = metrics.counter(
            "slipway_gateway_content_dropped_total", "Writes of content that were dropped because the database was away.")
        batcher.withLockedValue {
            $0 = Batcher(largest: 200, linger: .milliseconds(20)) { [weak self] batch in
                await self?.perform(batch)
                return batch.map { _ in .success(()) }
            }
        }
    }

    func write(_ write: ContentWrite) {
        let size = write.chunks.reduce(0) { $0 + $1.bytes.readableBytes }
        let fits = state.withLockedValue { state in
            guard state.pendingBytes + size <= Self.mostPendingBytes else { return false }
            state.pendingBytes += size
            return true
        }
        if fits { batcher.withLockedValue { $0 }?.post([write]) } else { dropped.add() }
    }

    /// The database came back without the newest of what it had: every chunk is written again when it is next used.
    func forgetStored() { state.withLockedValue { $0.stored = RecentHashes() } }

    func idle() async { await batcher.withLockedValue { $0 }?.idle() }
    func giveUp() { state.withLockedValue { $0.isGivingUp = true } }

    private func perform(_ batch: [ContentWrite]) async {
        var pause = Duration.milliseconds(20)
        var failures = 0
        while true {
            do {
                let written = try await store.write(batch) { organization, hash in
                    state.withLockedValue { $0.stored.contains(organization, hash) }
                }
                return state.withLockedValue { state in
                    state.release(batch)
                    for chunk in written { state.stored.insert(chunk.organization, chunk.hash) }
                }
            } catch {
                failures += 1
                if (error as? PostgresError)?.isConnectionLost == true { forgetStored() }
                if failures == 1 { logger.warning("content cannot be written yet", metadata: ["error": "\(error)"]) }
                let isFault = (error as? PostgresError).map { !$0.isTransient } ?? false
                if isFault, batch.count > 1 {
                    state.withLockedValue { $0.release(batch) }
                    for write in batch {
                        state.withLockedValue { $0.pendingBytes += write.size }
                        await perform([write])
                    }
                    return
                }
                if (isFault && failures > 3) || state.withLockedValue({ $0.isGivingUp }) {
                    dropped.add(Double(batch.count))
                    return state.withLockedValue { $0.release(batch) }
                }
                try? await Task.sleep(for: pause)
                pause = min(pause * 2, .seconds(1))
            }
        }
    }
}

extension ContentWrite {
    fileprivate var size: Int { chunks.reduce(0) { $0 + $1.bytes.readableBytes } }
}

/// The hashes of chunks that were stored not long ago: at most 20,000, on this day (UTC): the first use on a day is written down, so that
/// retention knows which chunks are in use.
private struct RecentHashes {
    private struct Key: Hashable {
        var organization: OrganizationID
        var hash: Data
    }

    private var young: Set<Key> = []
    private var old: Set<Key> = []
    private var turnedAt = ContinuousClock.now
    private var day = Self.today

    private static var today: Int { Int(Date().timeIntervalSince1970 / 86400) }

    func contains(_ organization: OrganizationID, _ hash: Data) -> Bool {
        if day != Self.today { return false }
        let key = Key(organization: organization, hash: hash)
        return young.contains(key) || old.contains(key)
    }

    mutating func insert(_ organization: OrganizationID, _ hash: Data) {
        if day != Self.today { self = RecentHashes() }
        if young.count >= 10_000 || turnedAt.duration(to: .now) > .seconds(600) {
            old = young
            young = []
            turnedAt = .now
        }
        young.insert(Key(organization: organization, hash: hash))
    }
}

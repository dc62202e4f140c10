import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Gateway

/// Batches that let more gather. The time that they would wait is longer than any test, so what passes did not wait.
@Suite struct BatcherTests {
    private static let long = Duration.seconds(3600)
    private let batches = NIOLockedValueBox<[[Int]]>([])

    private func batcher(largest: Int = 500) -> Batcher<Int, Int> {
        Batcher(largest: largest, linger: Self.long) { [batches] batch in
            batches.withLockedValue { $0.append(batch) }
            return batch.map { .success($0 * 2) }
        }
    }

    @Test func `what nobody waits for gathers until somebody waits, and is then one batch`() async throws {
        let batcher = batcher()
        batcher.post([1])
        batcher.post([2])
        #expect(try await batcher.submit(3) == 6)
        #expect(batches.withLockedValue { $0.flatMap(\.self) } == [1, 2, 3])
        await batcher.idle()
        #expect(batcher.count == 0)
    }

    @Test func `who wants nothing to be left does not wait for the time either`() async {
        let batcher = batcher()
        for number in 0..<50 {
            batcher.post([number])
            await batcher.idle()
        }
        #expect(batches.withLockedValue { $0 } == (0..<50).map { [$0] })
        batcher.post([1])
        batcher.post([2], isUrgent: true)
        await batcher.idle()
        #expect(batches.withLockedValue { $0.flatMap(\.self).suffix(2) } == [1, 2])
    }

    @Test func `a full batch is performed at once`() async throws {
        let batcher = batcher(largest: 3)
        for number in 1...7 { batcher.post([number]) }
        try await eventually { batches.withLockedValue { $0.flatMap(\.self).count >= 6 } }
        #expect(batches.withLockedValue { $0.allSatisfy { $0.count <= 3 } })
        await batcher.idle()
        #expect(batches.withLockedValue { $0.flatMap(\.self) } == Array(1...7))
    }

    @Test func `what is posted from everywhere at once is performed once each`() async throws {
        let batcher = Batcher<Int, Int>(largest: 64, linger: .microseconds(200)) { [batches] batch in
            batches.withLockedValue { $0.append(batch) }
            return batch.map { .success($0) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<8 {
                group.addTask {
                    for number in 0..<500 {
                        if number % 50 == 0 {
                            let answer = try await batcher.submit(worker * 500 + number)
                            #expect(answer == worker * 500 + number)
                        } else {
                            batcher.post([worker * 500 + number], isUrgent: number % 7 == 0)
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        await batcher.idle()
        #expect(batches.withLockedValue { $0.flatMap(\.self).sorted() } == Array(0..<4000))
    }
}

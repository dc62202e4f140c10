import Core
import Logging
import NIOConcurrencyHelpers
import Testing
import TestSupport

@testable import Server

@Suite struct ShutdownPlanTests {
    private let plan = ShutdownPlan.slipway(drainDelay: .zero, grace: .seconds(20))

    @Test func `every part has its place exactly once`() {
        let listed = plan.phases.flatMap(\.groups).flatMap { $0 }
        #expect(listed.count == ServerPart.allCases.count)
        #expect(Set(listed) == Set(ServerPart.allCases))
    }

    @Test func `the gateway closes before anything that waits for sessions and all bounds together fit`() throws {
        let order = plan.phases.flatMap(\.groups)
        func place(_ part: ServerPart) throws -> Int { try #require(order.firstIndex { $0.contains(part) }) }
        #expect(try place(.listener) < place(.gateway))
        #expect(try place(.gateway) < place(.eventStreams))
        #expect(try place(.gateway) < place(.connections))
        #expect(try place(.provisioners) < place(.pool))
        #expect(try place(.pool) < place(.cluster))
        var elapsed = Duration.zero
        for phase in plan.phases { elapsed += plan.bound(of: phase, after: elapsed) }
        #expect(elapsed <= .seconds(29))
    }

    private final class Record: Sendable {
        let closed = NIOLockedValueBox<[String]>([])
        func note(_ name: String) { closed.withLockedValue { $0.append(name) } }
    }

    @Test func `parts close in the plan's order whatever order they started in, and only those that started`() async {
        let record = Record()
        let lifecycle = Lifecycle(plan: plan, logger: .silent)
        for part in [ServerPart.cluster, .pool, .heartbeat, .connections, .listener, .gateway] {
            lifecycle.started(part) { record.note(part.rawValue) }
        }
        await lifecycle.close()
        #expect(record.closed.withLockedValue { $0 } == ["listener", "gateway", "connections", "heartbeat", "pool", "cluster"])
        await lifecycle.close()
        #expect(record.closed.withLockedValue { $0.count } == 6)
    }

    @Test func `a part that never ends is left behind at its bound`() async {
        let record = Record()
        let quick = ShutdownPlan(phases: [
            .init(name: "stuck", bound: .milliseconds(30), groups: [[.gateway]]),
            .init(name: "after", bound: .seconds(1), groups: [[.pool]]),
        ])
        let lifecycle = Lifecycle(plan: quick, logger: .silent)
        let never = AsyncStream<Void>.makeStream()
        lifecycle.started(.gateway) {
            await Task.detached { for await _ in never.stream {} }.value
        }
        lifecycle.started(.pool) { record.note("pool") }
        let time = await ContinuousClock().measure { await lifecycle.close() }
        #expect(record.closed.withLockedValue { $0 } == ["pool"])
        #expect(time < .milliseconds(500))
        never.continuation.finish()
    }

    @Test func `a part that ends by itself is a failure and one that is closed is not`() async {
        let lifecycle = Lifecycle(plan: plan, logger: .silent)
        lifecycle.run(.settings) { throw AppError(.unavailable, "gone") }
        await lifecycle.failed()
        #expect((lifecycle.failure as? AppError)?.message == "gone")

        let other = Lifecycle(plan: plan, logger: .silent)
        other.run(.settings) { try await stall() }
        await other.close()
        #expect(other.failure == nil)
    }
}

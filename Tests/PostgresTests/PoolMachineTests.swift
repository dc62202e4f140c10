import Testing

@testable import Postgres

@Suite struct PoolMachineTests {
    @Test func `connections are opened for those that wait and no further than the limit`() {
        var pool = PoolMachine(limit: 2)
        #expect(pool.handle(.wanted(by: 1)) == [.open])
        #expect(pool.handle(.wanted(by: 2)) == [.open])
        #expect(pool.handle(.wanted(by: 3)) == [])
        #expect(pool.handle(.connected(10)) == [.lend(10, to: 1)])
        #expect(pool.handle(.connected(11)) == [.lend(11, to: 2)])
        #expect(pool.handle(.returned(10)) == [.lend(10, to: 3)])
        #expect(pool.handle(.returned(11)) == [])
        #expect(pool.handle(.wanted(by: 4)) == [.lend(11, to: 4)])
    }

    @Test func `a waiter that gave up is refused once and served never`() {
        var pool = PoolMachine(limit: 1)
        _ = pool.handle(.wanted(by: 1))
        #expect(pool.handle(.wanted(by: 2)) == [])
        #expect(pool.handle(.gaveUp(2)) == [.refuse(2)])
        #expect(pool.handle(.gaveUp(2)) == [])
        #expect(pool.handle(.connected(10)) == [.lend(10, to: 1)])
        #expect(pool.handle(.gaveUp(1)) == [])
        #expect(pool.handle(.returned(10)) == [])
        #expect(pool.idle == [10])
    }

    @Test func `a lost connection is replaced only when somebody waits`() {
        var pool = PoolMachine(limit: 1)
        _ = pool.handle(.wanted(by: 1))
        _ = pool.handle(.connected(10))
        #expect(pool.handle(.wanted(by: 2)) == [])
        #expect(pool.handle(.lost(10)) == [.open])
        #expect(pool.handle(.returned(10)) == [])
        #expect(pool.handle(.connected(11)) == [.lend(11, to: 2)])
        _ = pool.handle(.returned(11))
        #expect(pool.handle(.lost(11)) == [])
        #expect(pool.idle == [])
    }

    @Test func `failures are retried one at a time with growing pauses`() {
        var pool = PoolMachine(limit: 4)
        #expect(pool.handle(.wanted(by: 1)) == [.open])
        #expect(pool.handle(.wanted(by: 2)) == [.open])
        #expect(pool.handle(.connectFailed) == [.retry(after: .milliseconds(50))])
        #expect(pool.handle(.connectFailed) == [])
        #expect(pool.handle(.wanted(by: 3)) == [])
        #expect(pool.handle(.retryDue) == [.open])
        #expect(pool.handle(.connectFailed) == [.retry(after: .milliseconds(200))])
        #expect(pool.handle(.retryDue) == [.open])
        #expect(pool.handle(.connected(10)) == [.lend(10, to: 1), .open, .open])
        #expect(PoolMachine.backOff(afterFailures: 50) == .seconds(2))
    }

    @Test func `nobody is retried for when nobody waits`() {
        var pool = PoolMachine(limit: 4)
        _ = pool.handle(.wanted(by: 1))
        _ = pool.handle(.gaveUp(1))
        #expect(pool.handle(.connectFailed) == [])
        #expect(pool.handle(.wanted(by: 2)) == [.open])
    }

    @Test func `closing waits for lent and opening connections`() {
        var pool = PoolMachine(limit: 3)
        _ = pool.handle(.wanted(by: 1))
        _ = pool.handle(.connected(10))
        _ = pool.handle(.wanted(by: 2))
        _ = pool.handle(.connected(11))
        _ = pool.handle(.returned(11))
        _ = pool.handle(.wanted(by: 3))
        _ = pool.handle(.wanted(by: 4))
        #expect(pool.handle(.close) == [.refuse(4)])
        #expect(pool.handle(.wanted(by: 5)) == [.refuse(5)])
        #expect(pool.handle(.close) == [])
        #expect(pool.handle(.connected(12)) == [.discard(12)])
        #expect(pool.handle(.returned(10)) == [.discard(10)])
        #expect(pool.handle(.returned(11)) == [.discard(11), .closed])
        #expect(pool.handle(.lost(11)) == [])
    }

    @Test func `closing an unused pool is done at once`() {
        var pool = PoolMachine(limit: 3)
        #expect(pool.handle(.close) == [.closed])
    }
}

@Suite struct StatementCacheTests {
    @Test func `statements not used for longest are dropped, with some room`() {
        var cache = StatementCache(capacity: 10)
        for number in 0...10 { cache.add(.init(sql: "\(number)", types: []), name: cache.newName()) }
        #expect(cache.find(.init(sql: "0", types: [])) == "s1")
        #expect(cache.evict() == ["s2", "s3"])
        #expect(cache.count == 9)
        #expect(cache.evict() == [])
        #expect(cache.find(.init(sql: "1", types: [])) == nil)
        #expect(cache.find(.init(sql: "0", types: [23])) == nil)
    }
}

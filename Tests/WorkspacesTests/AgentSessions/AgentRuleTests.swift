import AgentProtocol
import Foundation
import NIOCore
import NIOPosix
import Testing

@testable import AgentRuntime

@Suite struct CallLedgerTests {
    private func begin(_ ledger: inout CallLedger, _ id: String, fence: Fence = 1, digest: UInt64 = 0) -> CallLedger.Admission {
        ledger.admit(id: id, kind: .process, fence: fence, digest: digest, now: 1000)
    }

    @Test func `a call is new once and known afterwards, whatever its fence`() {
        var ledger = CallLedger()
        guard case .new(let entry) = begin(&ledger, "a", fence: 5) else { Issue.record("not new"); return }
        #expect(begin(&ledger, "a", fence: 5) == .known(entry))
        #expect(begin(&ledger, "a", fence: 1) == .known(entry))
        #expect(begin(&ledger, "b", fence: 4) == .stale(present: 5))
        #expect(ledger["b"] == nil)
    }

    @Test func `an id with another content or kind is reused`() {
        var ledger = CallLedger()
        _ = begin(&ledger, "a", digest: 1)
        #expect(begin(&ledger, "a", digest: 2) == .reused)
        #expect(ledger.admit(id: "a", kind: .write, fence: 1, digest: 1, now: 0) == .reused)
    }

    @Test func `fences of different scopes do not know each other`() {
        var ledger = CallLedger()
        #expect(ledger.adopt(Fence(9, scope: "one")) == nil)
        #expect(ledger.adopt(Fence(1, scope: "two")) == nil)
        #expect(ledger.adopt(Fence(8, scope: "one")) == Fence(9, scope: "one"))
    }

    @Test func `a withdrawn call may begin again, under another number`() {
        var ledger = CallLedger()
        guard case .new(let first) = begin(&ledger, "a") else { Issue.record("not new"); return }
        ledger.withdraw(first.number)
        guard case .new(let second) = begin(&ledger, "a") else { Issue.record("not new"); return }
        #expect(second.number > first.number)
    }

    @Test func `a new boot makes unknown what has no result and keeps what has one`() {
        var ledger = CallLedger()
        guard case .new(let ended) = begin(&ledger, "ended") else { Issue.record("not new"); return }
        ledger.end(ended.number, .exited(3), now: 2000)
        _ = begin(&ledger, "open")
        ledger.beginBoot()
        #expect(ledger["ended"]?.result == .exited(3))
        #expect(ledger["open"]?.result == .unknown)
        #expect(ledger["open"]?.isOfThisBoot == false)
    }

    @Test func `a journal of every kind of record gives the same ledger, as written and as shortened`() throws {
        var ledger = CallLedger()
        var lines: [String] = [CallLedger.Record.boot("one").line]
        let results: [CallLedger.Result] = [
            .exited(-1), .signaled(9), .refused("'x y' cannot\nbe run: no."), .written(size: 7, created: true), .unknown,
        ]
        for (index, result) in results.enumerated() {
            guard
                case .new(let entry) = ledger.admit(
                    id: "task/1:\(index)@x", kind: index.isMultiple(of: 2) ? .process : .write,
                    fence: Fence(Int64(index), scope: "s"),
                    digest: .max, now: 5)
            else { Issue.record("not new"); return }
            lines.append(CallLedger.Record.start(entry).line)
            ledger.end(entry.number, result, now: 6, outputBytes: 99)
            lines.append(CallLedger.Record.end(entry.number, result, at: 6, outputBytes: 99).line)
        }
        var replayed = CallLedger()
        for line in lines { replayed.replay(try #require(CallLedger.Record(line: line[...]))) }
        #expect(replayed.fences == ledger.fences)
        #expect(replayed.entries.keys.sorted() == ledger.entries.keys.sorted())
        #expect(replayed["task/1:2@x"]?.result == .refused("'x y' cannot be run: no."))

        var shortened = CallLedger()
        for record in replayed.snapshot(boot: "one") { shortened.replay(try #require(CallLedger.Record(line: record.line[...]))) }
        #expect(shortened.entries == replayed.entries)
        #expect(shortened.fences == replayed.fences)
    }

    @Test func `lines that are torn or of a later version are no records`() {
        for line in [
            "", "start", "start 1 id process s 1 ff", "end 1 2", "end 1 2 3 exited", "fence s x", "later 1 2 3", "boot",
            "end 1 2 3 written 5",
        ] {
            #expect(CallLedger.Record(line: line[...]) == nil, "\(line)")
        }
    }

    @Test func `pruning forgets the oldest ended calls and never an open one, and numbers stay unique`() {
        var ledger = CallLedger()
        for index in 0..<20 {
            guard case .new(let entry) = begin(&ledger, "\(index)") else { Issue.record("not new"); return }
            if index != 0 { ledger.end(entry.number, .exited(0), now: 1) }
        }
        ledger.prune(keeping: 5)
        #expect(ledger.entries.values.map(\.id).sorted() == ["0", "16", "17", "18", "19"])
        var replayed = CallLedger()
        for record in ledger.snapshot(boot: "b") { replayed.replay(record) }
        guard case .new(let next) = begin(&replayed, "next") else { Issue.record("not new"); return }
        #expect(next.number == 21)
    }
}

@Suite struct JournalTests {
    private func withDirectory(_ body: (String) async throws -> Void) async throws {
        let path = "/tmp/swj-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await body(path)
    }

    @Test func `a torn last line is cut off and what follows is read`() async throws {
        try await withDirectory { directory in
            let pool = BlockingPool(threads: 1)
            try Data("boot one\nfence s 4\nstart 1 a process s 4 ff 10\nend 1 20 5 exi".utf8).write(
                to: URL(fileURLWithPath: directory + "/journal"))
            let (journal, ledger, isNewBoot) = try Journal.open(directory: directory, boot: "one", pool: pool)
            #expect(!isNewBoot)
            #expect(ledger["a"]?.result == nil)
            try journal.append(.end(1, .exited(3), at: 20, outputBytes: 5))
            try await journal.sync()
            #expect(try Journal.open(directory: directory, boot: "one", pool: pool).1["a"]?.result == .exited(3))
            #expect(try Journal.open(directory: directory, boot: "two", pool: pool).isNewBoot)
        }
    }

    @Test func `many who wait for the disk at once all get through`() async throws {
        try await withDirectory { directory in
            let (journal, _, _) = try Journal.open(directory: directory, boot: "one", pool: BlockingPool(threads: 2))
            try await withThrowingTaskGroup { group in
                for number in 0..<200 {
                    group.addTask {
                        try journal.append(.drop(UInt64(number)))
                        try await journal.sync()
                    }
                }
                try await group.waitForAll()
            }
            let lines = try String(contentsOfFile: directory + "/journal", encoding: .utf8).split(separator: "\n")
            #expect(lines.filter { $0.hasPrefix("drop") }.count == 200)
        }
    }
}

@Suite struct AgentValueTests {
    @Test func `pauses between tries double to five seconds and are scattered`() {
        var random = SystemRandomNumberGenerator()
        var backoff = Backoff()
        var longest: Int64 = 25
        for _ in 0..<20 {
            let pause = backoff.next(using: &random).nanoseconds / 1_000_000
            #expect(pause >= longest / 2 && pause <= longest)
            longest = min(longest * 2, 5000)
        }
        backoff.reset()
        #expect(backoff.next(using: &random) <= .milliseconds(25))
    }

    @Test(arguments: ["a b", "ü/ö", "%41", "?&=#", "\n\0", "", "日本"])
    func `a target survives its way through text`(_ value: String) throws {
        let target = RequestTarget(["v1", "files"] + (value.isEmpty ? [] : [value]), query: ["path": value, "x": "1"])
        #expect(try #require(RequestTarget(parsing: target.text)) == target)
    }

    @Test(arguments: ["no-slash", "/%", "/%4", "/%zz", "/%ff", "/a?b=%c3%28"])
    func `a malformed target is none`(_ text: String) { #expect(RequestTarget(parsing: text) == nil) }

    @Test func `without --direct the agent takes no arguments, and with it only all of them`() {
        let environment = ["SLIPWAY_SANDBOX_ID": "s", "SLIPWAY_ZONE_FD": "3"]
        func configuration(_ arguments: [String]) throws -> AgentConfiguration {
            try AgentConfiguration(arguments: arguments, environment: environment)
        }
        #expect(throws: AgentConfiguration.Refusal.self) { try configuration(["--state", "/tmp"]) }
        #expect(throws: AgentConfiguration.Refusal.self) { try configuration(["--direct", "--state", "/tmp"]) }
        #expect(throws: AgentConfiguration.Refusal.self) { try AgentConfiguration(arguments: [], environment: [:]) }
        #expect(throws: Never.self) { try configuration([]) }
        let direct = ["--direct", "--state", "/s", "--sockets", "/k", "--token", "/t", "--home", "/h"]
        #expect(throws: Never.self) { try configuration(direct) }
    }

    @Test func `a ring gives what is kept, in order, across its seam`() throws {
        let path = "/tmp/swr-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        // 10 bytes more than the capacity: the oldest ten are overwritten.
        let capacity = 200_000
        let all = (0..<capacity + 10).map { UInt8(truncatingIfNeeded: $0 % 251) }
        var data = Array(all[..<capacity])
        data.replaceSubrange(0..<10, with: all[capacity...])
        func header(final: UInt32) -> Data {
            var header = ByteBuffer()
            header.writeString("SLIPRING")
            header.writeMultipleIntegers(UInt32(1), final, endianness: .little)
            header.writeMultipleIntegers(UInt64(capacity), UInt64(all.count), UInt64(0), endianness: .little)
            header.writeRepeatingByte(0, count: 4096 - header.readableBytes)
            return Data(header.readableBytesView)
        }
        try (header(final: 1) + Data(data)).write(to: URL(fileURLWithPath: path))
        let end = try RingFile.read(path, cursor: Int64(capacity - 5), limit: 100)
        #expect(Array(end.data) == Array(all[(capacity - 5)...]))
        #expect(end.isFinal)
        let begin = try RingFile.read(path, cursor: 0, limit: 20)
        #expect(begin.start == 10)
        #expect(Array(begin.data) == Array(all[10..<30]))
        #expect(Array(try RingFile.read(path, cursor: nil, tail: 7, limit: 7).data) == Array(all.suffix(7)))
        // While it is written, one step before the oldest may be in the making.
        try (header(final: 0) + Data(data)).write(to: URL(fileURLWithPath: path))
        #expect(try RingFile.read(path, cursor: 0, limit: 100_000).start == 10 + 65536)
        #expect(throws: (any Error).self) { try RingFile.read("/etc/passwd", cursor: 0, limit: 1) }
    }

    @Test func `of logs that nobody fetched the newest are kept and the loss is counted`() throws {
        let log = AgentLog(loop: MultiThreadedEventLoopGroup.singleton.any(), descriptor: -1)
        for number in 0..<600 { log.info("\(number)") }
        let batch = try #require(log.take())
        #expect(batch.lines.count == 500)
        #expect(batch.lines.last?.text == "599")
        #expect(batch.dropped == 100)
        log.info("later")
        log.putBack(batch)
        #expect(log.take()?.lines.last?.text == "later")
        #expect(log.take() == nil)
    }
}

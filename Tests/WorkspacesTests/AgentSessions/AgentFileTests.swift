import AgentProtocol
import Core
import Foundation
import NIOCore
import Testing
import Workspaces

@Suite(.serialized) struct AgentFileTests {
    private func refusal(_ body: () async throws -> Void) async -> AppError? {
        await #expect(throws: AppError.self) { try await body() }
    }

    @Test func `a file is written with its directories and read back in parts`() async throws {
        try await AgentHarness.connected { harness, agent in
            let written = try await agent.writeFile("a/b/ü c.txt", Data("0123456789".utf8), call: "w1", fence: 1)
            #expect(written == FileWritten(size: 10, created: true))
            #expect(try harness.text("a/b/ü c.txt") == "0123456789")
            let part = try await agent.readFile("a/b/ü c.txt", offset: 3, limit: 4)
            #expect(part.data == Data("3456".utf8))
            #expect(part.info.size == 10)
            #expect(try await agent.readFile("a/b/ü c.txt", offset: 100).data.isEmpty)
            #expect(try await agent.writeFile("a/b/ü c.txt", Data(), call: "w2", fence: 1) == FileWritten(size: 0, created: false))
            #expect(try harness.text("a/b/ü c.txt") == "")
        }
    }

    @Test func `replacing a file keeps its mode, goes through links and leaves nothing behind`() async throws {
        try await AgentHarness.connected { harness, agent in
            _ = try await agent.sh("mkdir bin; echo old > bin/run; chmod 751 bin/run; ln -s bin/run link; ln -s nowhere dangling")
            try await agent.writeFile("link", Data("new".utf8), call: "w", fence: 1)
            let result = try await agent.sh("cat bin/run; stat -c ' %a' bin/run; readlink link; ls -A . bin | sort | tr '\\n' ' '")
            #expect(result.text == "new 751\nbin/run\n .: bin bin: dangling link run ")
            let dangling = await refusal { try await agent.writeFile("dangling", Data("x".utf8), call: "d", fence: 1) }
            #expect(dangling?.message.contains("a link to something that does not exist") == true)
        }
    }

    @Test func `a write happens once per call id, and a later change is not undone by its repetition`() async throws {
        try await AgentHarness.connected { harness, agent in
            let first = try await agent.writeFile("f", Data("one".utf8), call: "w", fence: 1)
            try harness.put("two", "f")
            #expect(try await agent.writeFile("f", Data("one".utf8), call: "w", fence: 1) == first)
            #expect(try harness.text("f") == "two")
            let reused = await refusal { try await agent.writeFile("f", Data("three".utf8), call: "w", fence: 1) }
            #expect(reused?.field == "call")
            #expect(try harness.text("f") == "two")
        }
    }

    @Test func `a write of which only a part arrives changes nothing`() async throws {
        try await AgentHarness.connected { harness, agent in
            struct Cut: Error {}
            try harness.put("old", "f")
            let pieces = AsyncThrowingStream<ByteBuffer, any Error> { continuation in
                continuation.yield(ByteBuffer(repeating: 1, count: 3 << 20))
                continuation.finish(throwing: Cut())
            }
            _ = await refusal { try await agent.writeFile("f", contents: pieces, call: "w", fence: 1) }
            #expect(try await agent.writeFile("g", Data("next".utf8), call: "w2", fence: 1).size == 4)
            #expect(try harness.text("f") == "old")
            #expect(try FileManager.default.contentsOfDirectory(atPath: harness.home).sorted() == ["f", "g"])
        }
    }

    @Test func `200 MB go in and come out unchanged`() async throws {
        try await AgentHarness.connected { harness, agent in
            let chunk = ByteBuffer(bytes: (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) })
            let written = try await agent.writeFile("big", contents: Repeated(chunk: chunk, count: 200), call: "w", fence: 1)
            #expect(written.size == 200 << 20)
            var place = 0
            var isSame = true
            let info = try await agent.readFile("big") { piece in
                var rest = piece
                while isSame, rest.readableBytes > 0 {
                    let offset = (place + piece.readableBytes - rest.readableBytes) % chunk.readableBytes
                    let part = rest.readSlice(length: min(rest.readableBytes, chunk.readableBytes - offset))
                    isSame = part == chunk.getSlice(at: offset, length: part?.readableBytes ?? 0)
                }
                place += piece.readableBytes
            }
            #expect(info.size == 200 << 20)
            #expect(place == 200 << 20)
            #expect(isSame)
            #expect(try await agent.sh("cmp <(head -c 1048576 big) <(tail -c 1048576 big) && echo same").text == "same\n")
        }
    }

    @Test func `a reader that goes away in the middle of a file hurts nobody`() async throws {
        try await AgentHarness.connected { harness, agent in
            struct Enough: Error {}
            _ = try await agent.sh("truncate -s 1G big; echo small > small")
            for _ in 0..<10 {
                await #expect(throws: (any Error).self) { try await agent.readFile("big") { _ in throw Enough() } }
            }
            #expect(try await agent.readFile("small").data == Data("small\n".utf8))
        }
    }

    @Test(.timeLimit(.minutes(1))) func `what is no regular file is named and refused, and nobody waits for it`() async throws {
        try await AgentHarness.connected { harness, agent in
            _ = try await agent.sh("mkfifo fifo; mkdir dir; ln -s loop loop; ln -s /dev/zero zero; touch secret; chmod 000 secret")
            let fifo = await refusal { _ = try await agent.readFile("fifo") }
            #expect(fifo?.message == "'fifo' is a fifo, not a regular file, and cannot be read.")
            #expect(await refusal { _ = try await agent.readFile("dir") }?.message == "'dir' is a directory. List it instead.")
            #expect(await refusal { _ = try await agent.readFile("zero") }?.message.contains("is a device") == true)
            #expect(await refusal { _ = try await agent.readFile("loop") }?.code == .badRequest)
            #expect(await refusal { _ = try await agent.readFile("none") }?.code == .notFound)
            #expect(await refusal { try await agent.writeFile("fifo", Data(), call: "1", fence: 1) }?.code == .badRequest)
            #expect(await refusal { try await agent.writeFile("dir", Data(), call: "2", fence: 1) }?.code == .badRequest)
            #expect(await refusal { try await agent.writeFile("none/", Data(), call: "3", fence: 1) }?.code == .badRequest)
            #expect(await refusal { try await agent.writeFile("secret/x", Data(), call: "4", fence: 1) }?.code == .notFound)
            #expect(await refusal { _ = try await agent.list("fifo") }?.code == .badRequest)
            #expect(await refusal { _ = try await agent.search(SearchQuery(pattern: "x", path: "fifo")) }?.code == .badRequest)
        }
    }

    @Test func `hostile paths are refused with the field's name or name what they name`() async throws {
        try await AgentHarness.connected { harness, agent in
            for path in ["", "a\0b", String(repeating: "x", count: 5000)] {
                #expect(await refusal { _ = try await agent.readFile(path) }?.message.hasPrefix("path:") == true)
                #expect(
                    await refusal { try await agent.writeFile(path, Data("x".utf8), call: "w", fence: 1) }?.message.hasPrefix(
                        "path:") == true)
            }
            #expect(await refusal { _ = try await agent.readFile(String(repeating: "x", count: 300)) }?.code == .badRequest)
            // `..` and links lead where they lead for every command of the workload: the zone is the wall, not the path.
            try harness.put("inside", "f")
            #expect(try await agent.readFile("../home/./f").data == Data("inside".utf8))
            for path in ["?x=1&y#%41", "-rf", " ", "\n", "a\"b'c\\"] {
                try await agent.writeFile(path, Data(path.utf8), call: UUID().uuidString, fence: 1)
                #expect(try harness.text(path) == path)
                #expect(try await agent.readFile(path).data == Data(path.utf8))
            }
        }
    }

    @Test func `a file worker that the workload kills is replaced`() async throws {
        try await AgentHarness.connected { harness, agent in
            try harness.put("text", "f")
            for _ in 0..<5 {
                _ = try await agent.readFile("f")
                let killed = try await agent.sh("pkill -c -9 -P \(harness.zonePID) -f ' files'")
                #expect(killed.text == "1\n")
                #expect(try await agent.readFile("f").data == Data("text".utf8))
            }
        }
    }

    @Test func `a listing is sorted, goes as deep as asked and says when it is cut`() async throws {
        try await AgentHarness.connected { _, agent in
            _ = try await agent.sh("mkdir -p b/c/d; touch a b/x b/c/y b/c/d/z; ln -s b link; mkfifo pipe")
            let flat = try await agent.list()
            #expect(flat.entries.map(\.path) == ["a", "b", "link", "pipe"])
            #expect(flat.entries.map(\.kind) == [.file, .directory, .link, .fifo])
            #expect(flat.entries[2].target == "b")
            #expect(
                try await agent.list(depth: 3).entries.map(\.path) == ["a", "b", "b/c", "b/c/d", "b/c/y", "b/x", "link", "pipe"])
            let cut = try await agent.list(depth: 9, limit: 3)
            #expect(cut.entries.count == 3)
            #expect(cut.truncated == "more than 3 entries")
            #expect(await refusal { _ = try await agent.list("a") }?.message == "'a' is a file, not a directory. Read it instead.")
        }
    }

    @Test func `a search finds lines by expression, text and glob`() async throws {
        try await AgentHarness.connected { _, agent in
            _ = try await agent.sh(
                """
                mkdir -p src/deep .git; printf 'let a = 1\\nlet bb = 22\\n// A.B\\n' > src/one.swift; printf 'a.b\\naxb' > src/deep/two.txt
                printf 'a.b' > .git/hidden; printf 'a.b\\0' > src/binary; ln -s src linked
                """)
            func search(_ query: SearchQuery) async throws -> [String] {
                try await agent.search(query).hits.map { "\($0.path):\($0.line):\($0.text)" }
            }
            #expect(try await search(SearchQuery(pattern: #"^let \w+ = \d{2}$"#)) == ["src/one.swift:2:let bb = 22"])
            #expect(try await search(SearchQuery(pattern: "a.b")) == ["src/deep/two.txt:1:a.b", "src/deep/two.txt:2:axb"])
            #expect(try await search(SearchQuery(pattern: "a.b", literal: true)) == ["src/deep/two.txt:1:a.b"])
            #expect(
                try await search(SearchQuery(pattern: "a.b", glob: "*.swift", literal: true, ignoreCase: true)) == [
                    "src/one.swift:3:// A.B"
                ])
            #expect(try await search(SearchQuery(pattern: "axb", path: "src/deep", glob: "**/*.txt")) == ["two.txt:2:axb"])
            let bad = await refusal { _ = try await agent.search(SearchQuery(pattern: "a(")) }
            #expect(bad?.message.contains("pattern:") == true)
            #expect(
                await refusal { _ = try await agent.search(SearchQuery(pattern: #"(a)\1"#)) }?.message.contains("back-references")
                    == true)
        }
    }

    @Test(.timeLimit(.minutes(2))) func `a search has bounds for hits, for long lines and for patterns that explode`() async throws
    {
        try await AgentHarness.connected { _, agent in
            _ = try await agent.sh(
                "seq 1 5000 > numbers; head -c 1000000 /dev/zero | tr '\\0' a > long; mkdir many; cd many; touch {1..300}")
            let cut = try await agent.search(SearchQuery(pattern: "[0-9]", path: "numbers", limit: 10))
            #expect(cut.hits.count == 10)
            #expect(cut.truncated == "more than 10 hits")
            let long = try await agent.search(SearchQuery(pattern: "a", path: "long"))
            #expect(long.hits.map(\.text.utf8.count) == [400])
            _ = try? await agent.search(SearchQuery(pattern: "((((a{1,250}){1,250}){1,250}){1,250})x", path: "long"))
            #expect(try await agent.sh("echo alive").text == "alive\n")
            #expect(try await agent.list("many").entries.count == 300)
        }
    }
}

private struct Repeated: AsyncSequence, AsyncIteratorProtocol {
    let chunk: ByteBuffer
    var count: Int
    func makeAsyncIterator() -> Repeated { self }
    mutating func next() async -> ByteBuffer? {
        guard count > 0 else { return nil }
        count -= 1
        return chunk
    }
}

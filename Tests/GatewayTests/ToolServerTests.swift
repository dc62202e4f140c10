import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite struct ToolServerTests {
    enum Hostility: String, CaseIterable, Sendable {
        case redirect, serverError, hugeBody, hugeEvents, cutEvents, cutBody, wrongID, noJSON, noMessage, html, batch, slow, silent,
            twoFields, noObject

        /// A piece of what the caller reads.
        var complaint: String {
            switch self {
            case .redirect: "redirect (status 302), which is not followed"
            case .serverError: "status 500"
            case .hugeBody: "more than 8388608 bytes"
            case .hugeEvents: "more than 8388608 bytes"
            case .cutEvents: "broke off"
            case .cutBody: "broke off"
            case .wrongID: "answers another request"
            case .noJSON, .batch, .twoFields, .noMessage: "no message of the protocol"
            case .html: "'text/html', which is neither JSON nor events"
            case .slow, .silent: "did not answer within 1 seconds"
            case .noObject: "no object"
            }
        }

        func answer(_ id: String, _ connection: RawConnection) async throws {
            func json(_ text: String) async throws { try await ToolUpstream.send(connection, text) }
            switch self {
            case .redirect:
                try await ToolUpstream.send(connection, "", status: "302 Found", extra: "Location: http://127.0.0.1:1/\r\n")
            case .serverError: try await ToolUpstream.send(connection, "secret stack trace", status: "500 Oops")
            case .hugeBody:
                try await connection.send(Upstream.head(length: 9 << 20))
                for _ in 0..<9 { try await connection.send(String(repeating: " ", count: 1 << 20)) }
            case .hugeEvents:
                try await connection.send(Upstream.head("text/event-stream"))
                for _ in 0..<200 {
                    try await connection.send(Upstream.chunk("data: {}\r\n:" + String(repeating: "x", count: 64 << 10) + "\n"))
                }
            case .cutEvents:
                try await connection.send(
                    Upstream.head("text/event-stream") + Upstream.chunk("data: {\"jsonrpc\":\"2.0\",\"id\":\(id)"))
                throw CancellationError()  // the connection is closed
            case .cutBody:
                try await connection.send(Upstream.head(length: 100) + "{\"jsonrpc\":")
                throw CancellationError()
            case .wrongID: try await json(#"{"jsonrpc":"2.0","id":4711,"result":{}}"#)
            case .noJSON: try await json("<html>")
            case .noMessage: try await json(#"{"jsonrpc":"2.0","id":\#(id)}"#)
            case .html: try await connection.send(Upstream.head("text/html; charset=utf-8", length: 2) + "hi")
            case .batch: try await json(#"[{"jsonrpc":"2.0","id":\#(id),"result":{}}]"#)
            case .slow: await connection.untilClosed()
            case .silent:
                try await connection.send(Upstream.head("text/event-stream") + Upstream.chunk(": hello\n\n"))
                await connection.untilClosed()
            case .twoFields: try await json(#"{"jsonrpc":"2.0","id":\#(id),"result":{},"result":{"content":[]}}"#)
            case .noObject: try await json(#"{"jsonrpc":"2.0","id":\#(id),"result":[1]}"#)
            }
        }
    }

    @Test(arguments: Hostility.allCases) func `what a hostile server does is an error that says so, and on record`(
        _ hostility: Hostility
    )
        async throws
    {
        let upstream = ToolUpstream { id, _, connection in try await hostility.answer(id, connection) }
        var change = ToolServerService.Change()
        change.timeoutSeconds = hostility == .slow || hostility == .silent ? 1 : 30
        try await Stage.withTools(upstream, change: change) { stage, gateway, client in
            guard case .failure(let error) = try await client.call("tools__echo") else { throw NeverHappenedHere() }
            #expect(error.message.contains(hostility.complaint), "\(error)")
            #expect(!error.message.contains("secret stack trace"))
            let status = hostility == .slow || hostility == .silent ? "timeout" : "error"
            #expect(try await stage.toolCalls() == ["echo allow \(status)"])
            try await stage.expectSound(gateway)
        }
    }

    @Test func `a server at a private address is refused unless an admin allows it`() async throws {
        let upstream = ToolUpstream()
        var change = ToolServerService.Change()
        change.allowsPrivateAddresses = false
        try await Stage.withTools(upstream, change: change) { stage, gateway, client in
            guard case .failure(let error) = try await client.call("tools__echo") else { throw NeverHappenedHere() }
            #expect(error.message.contains("loopback"), "\(error)")
            #expect(upstream.seen.isEmpty)
            // Who lists tools is told which are missing and why.
            guard case .message(.result(_, let list), _) = await client.send(#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
            else {
                throw NeverHappenedHere()
            }
            #expect(list.contains(#""tools":[]"#) && list.contains(#""slipway/missing":{"tools":"#), "\(list)")
            var allowed = ToolServerService.Change()
            allowed.allowsPrivateAddresses = true
            _ = try await gateway.tools.servers.update(stage.user, name: "tools", allowed)
            _ = try await client.call("tools__echo").get()
        }
    }

    @Test func `each user's token goes with that user's calls alone, and is stored sealed`() async throws {
        let upstream = ToolUpstream()
        var change = ToolServerService.Change()
        change.auth = .user
        change.headers = [.init(name: "X-House", value: "house-key-4711"), .init(name: "Authorization", value: "Bearer nobody")]
        try await Stage.withTools(upstream, change: change) { stage, gateway, client in
            let bob = try await Stage.makeUser(stage.pool, "bob")
            guard case .failure(let error) = try await client.call("tools__echo") else { throw NeverHappenedHere() }
            #expect(error.message.contains("slipway mcp login tools"))
            #expect(upstream.seen.isEmpty)
            try await gateway.tools.servers.signIn(
                stage.user, name: "tools", [.init(name: "authorization", value: "Bearer ada-0815")])
            try await gateway.tools.servers.signIn(bob, name: "tools", [.init(name: "Authorization", value: "Bearer bob-0816")])
            _ = try await client.call("tools__echo").get()
            let adas = upstream.seen
            #expect(adas.allSatisfy { $0.head.contains("Bearer ada-0815") && $0.head.contains("X-House: house-key-4711") })
            #expect(adas.allSatisfy { !$0.head.contains("nobody") && !$0.head.contains("bob-0816") })
            _ = try await ToolClient(gateway, bob).call("tools__echo").get()
            #expect(upstream.seen.last { $0.method == "tools/call" }?.head.contains("Bearer bob-0816") == true)

            for table in ["ai_mcp_servers", "ai_mcp_credentials", "audit_facts", "ai_mcp_calls"] {
                let dump =
                    try await stage.pool.query("SELECT string_agg(t::text, ' ') AS all FROM \(unsafeSQL: table) t")[0][
                        "all", as: String?.self] ?? ""
                for secret in ["house-key-4711", "ada-0815", "bob-0816"] {
                    #expect(!dump.contains(secret) && !dump.contains(Data(secret.utf8).map { String(format: "%02x", $0) }.joined()))
                }
            }
            try await gateway.tools.servers.signOut(stage.user, name: "tools")
            guard case .failure = try await client.call("tools__echo") else { throw NeverHappenedHere() }
            try await stage.expectSound(gateway)
        }
    }

    @Test func `what was given to one host is not sent to another one`() async throws {
        var change = ToolServerService.Change()
        change.auth = .user
        change.headers = [.init(name: "X-House", value: "house-key-4711")]
        try await Stage.withTools(change: change) { stage, gateway, client in
            try await gateway.tools.servers.signIn(
                stage.user, name: "tools", [.init(name: "Authorization", value: "Bearer ada-0815")])
            var move = ToolServerService.Change()
            move.url = stage.upstream + "/another/path"
            #expect(try await gateway.tools.servers.update(stage.user, name: "tools", move).isSignedIn)
            move.url = "https://evil.example/mcp"
            await #expect(throws: AppError.self) { try await gateway.tools.servers.update(stage.user, name: "tools", move) }
            move.headers = []
            _ = try await gateway.tools.servers.update(stage.user, name: "tools", move)
            #expect(try await gateway.tools.servers.get(stage.user, name: "tools").isSignedIn == false)
        }
    }

    @Test func `a list of tools without end is given up, and costs the other servers nothing`() async throws {
        let upstream = ToolUpstream(isEndless: true)
        try await Stage.withTools(upstream) { _, _, client in
            let answer = await client.send(#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
            guard case .message(.result(_, let list), _) = answer else { throw NeverHappenedHere() }
            #expect(list.contains("a list that has no end within 50 pages"), "\(list)")
            #expect(upstream.seen("tools/list").count == 50)
        }
    }

    @Test func `a server that asks without end while it answers is not answered without end`() async throws {
        let upstream = ToolUpstream { _, _, connection in
            try await connection.send(Upstream.head("text/event-stream"))
            for number in 0..<40 {
                try await connection.send(
                    Upstream.chunk("data: {\"jsonrpc\":\"2.0\",\"id\":\"p\(number)\",\"method\":\"ping\"}\n\n"))
            }
            await connection.untilClosed()
        }
        try await Stage.withTools(upstream) { _, _, client in
            guard case .failure(let error) = try await client.call("tools__echo") else { throw NeverHappenedHere() }
            #expect(error.message.contains("asks more than 16 things"), "\(error)")
            #expect(upstream.seen("answer").count == 16)
        }
    }

    @Test func `a tool is not called a second time because its connection was closed without an answer`() async throws {
        let upstream = ToolUpstream { _, _, _ in throw CancellationError() }  // the connection is closed
        try await Stage.withTools(upstream) { stage, _, client in
            guard case .failure(let error) = try await client.call("tools__echo") else { throw NeverHappenedHere() }
            #expect(error.message.contains("without an answer"), "\(error)")
            #expect(upstream.seen("tools/call").count == 1)
            #expect(try await stage.toolCalls() == ["echo allow error"])
        }
    }

    @Test func `what two admins change at the same time is all changed`() async throws {
        try await Stage.withTools { stage, gateway, _ in
            var change = ToolServerService.Change()
            change.displayName = "Ours"
            try await withThrowingTaskGroup(of: Void.self) { group in
                try await stage.pool.withTransaction { connection in
                    try await connection.execute("UPDATE ai_mcp_servers SET deny_tools = ARRAY['delete_*']")
                    group.addTask { [change] in _ = try await gateway.tools.servers.update(stage.user, name: "tools", change) }
                    try await eventually("the other admin waits") { try await stage.count("pg_locks", "NOT granted") > 0 }
                }
                try await group.waitForAll()
            }
            let server = try await gateway.tools.servers.get(stage.user, name: "tools").server
            #expect(server.rules.deny == ["delete_*"] && server.displayName == "Ours")
        }
    }

    @Test func `lists of tools count as calls do`() async throws {
        let go = Signal()
        let isFirst = NIOLockedValueBox(true)
        let upstream = ToolUpstream()
        // The session's opening waits, and with it all who need it.
        try await Stage.with({ connection in
            while let request = try await connection.request() {
                let waits = isFirst.withLockedValue { isFirst in
                    defer { isFirst = false }
                    return isFirst
                }
                if waits { await go.wait() }
                try await upstream.handle(request, connection)
            }
        }) { stage in
            try await stage.gateway { gateway in
                var change = ToolServerService.Change()
                change.url = stage.upstream + "/mcp"
                change.allowsPrivateAddresses = true
                _ = try await gateway.tools.servers.create(stage.user, name: "tools", change)
                var client = ToolClient(gateway, stage.user)
                try await client.initialize()
                let (listing, refused) = (client, NIOLockedValueBox<[String]>([]))
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<70 {
                        group.addTask {
                            let answer = await listing.send(#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
                            guard case .message(.failure(_, let error), _) = answer else { return }
                            refused.withLockedValue { $0.append(error.message) }
                        }
                    }
                    try await eventually("those past the limit are refused") { refused.withLockedValue { $0.count } == 6 }
                    await #expect(throws: AppError.self) { try await gateway.tools.tools(of: "tools", stage.user) }
                    go.fire()
                    try await group.waitForAll()
                }
                #expect(refused.withLockedValue { $0 } == Array(repeating: refused.withLockedValue { $0[0] }, count: 6))
                #expect(refused.withLockedValue { $0[0] }.contains("64 calls of tools"))
                _ = try await gateway.tools.tools(of: "tools", stage.user)
            }
        }
    }

    @Test func `what is no server, pattern or header is refused with the field`() async throws {
        try await Stage.withTools { stage, gateway, client in
            func refusal(_ set: (inout ToolServerService.Change) -> Void) async -> String? {
                var change = ToolServerService.Change()
                change.url = "https://tools.example.com/mcp"
                set(&change)
                do {
                    _ = try await gateway.tools.servers.create(stage.user, name: "fresh", change)
                    return nil
                } catch { return (error as? AppError)?.field }
            }
            #expect(await refusal { $0.url = "stdio:npx server" } == "url")
            #expect(await refusal { $0.url = "npx -y server" } == "url")
            #expect(await refusal { $0.url = "https://user@host/mcp" } == "url")
            #expect(await refusal { $0.timeoutSeconds = 0 } == "timeout_seconds")
            #expect(await refusal { $0.deny = ["ok", ""] } == "deny_tools[1]")
            #expect(await refusal { $0.headers = [.init(name: "Host", value: "x")] } == "headers")
            #expect(await refusal { $0.headers = [.init(name: "X-A", value: "a\r\nb: c")] } == "headers")
            #expect(await refusal { $0.headers = [.init(name: "X A", value: "a")] } == "headers")
            #expect(await refusal { _ in } == nil)
            #expect(await refusal { _ in } == "name", "it is there already")
        }
    }
}

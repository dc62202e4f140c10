import Core
import Foundation
import HTTPTransport
import ModelAPI
import NIOCore
import TestSupport
import Testing

@testable import Gateway

@Suite struct ToolTests {
    @Test func `a tool is offered and called under its server's name, and on record before its result is told`() async throws {
        let upstream = ToolUpstream()
        try await Stage.withTools(upstream) { stage, gateway, client in
            var client = client
            try await client.initialize()
            guard case .message(.result(_, let list), _) = await client.send(#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
            else {
                throw NeverHappenedHere()
            }
            // What we do not know of a tool goes on as it came.
            #expect(
                list.contains(#"{"name":"tools__echo","description":"A tool.","inputSchema":{"type":"object"},"x":1.0}"#), "\(list)"
            )
            let arguments = #"{"a" : [1.0, 18446744073709551616], "b":"\u00e9"}"#
            let result = try await client.call("tools__echo", arguments).get()
            #expect(result == #"{"content":[{"type":"text","text":"done"}],"isError":false}"#)
            let sent = try #require(upstream.seen("tools/call").first)
            #expect(sent.body.contains(#""name":"echo","arguments":\#(arguments)"#), "\(sent.body)")
            #expect(sent.head.lowercased().contains("mcp-protocol-version: 2025-06-18"))

            let calls = try await gateway.tools.calls.list(.own(stage.user), .init(), try PageRequest())
            let call = try #require(calls.items.first)
            #expect(call.server == "tools" && call.tool == "echo" && call.client == "test 9" && call.rule == "mcp:tools:all")
            let whole = try await gateway.tools.calls.get(.own(stage.user), call.id)
            #expect(whole.arguments == arguments && whole.result == result && whole.status == "ok")
            try await stage.expectSound(gateway)
        }
    }

    @Test func `a denied tool is not offered, and calling it is refused with the rule, on record, and never sent`() async throws {
        let upstream = ToolUpstream(tools: ["read_a", "read_secret", "write"])
        var change = ToolServerService.Change()
        change.allow = ["read_*"]
        change.deny = ["*secret*"]
        try await Stage.withTools(upstream, change: change) { stage, gateway, client in
            guard case .message(.result(_, let list), _) = await client.send(#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
            else {
                throw NeverHappenedHere()
            }
            #expect(list.contains("tools__read_a") && !list.contains("secret") && !list.contains("write"))
            for (tool, rule) in [("read_secret", "mcp:tools:deny:*secret*"), ("write", "mcp:tools:not-allowed")] {
                guard case .failure(let error) = try await client.call("tools__\(tool)") else { throw NeverHappenedHere() }
                #expect(error.code == MCPError.denied && error.data?.contains(rule) == true, "\(error)")
            }
            _ = try await client.call("tools__read_a").get()
            #expect(upstream.seen("tools/call").count == 1)
            #expect(try await stage.toolCalls() == ["read_secret deny refused", "write deny refused", "read_a allow ok"])
            try await stage.expectSound(gateway)
        }
    }

    @Test(arguments: [
        "unknown", "nowhere__echo", "tools", "tools__", "tools__a b",
    ]) func `a tool that is not there is a client's error`(name: String) async throws {
        try await Stage.withTools { stage, gateway, client in
            guard case .failure(let error) = try await client.call(name) else { throw NeverHappenedHere() }
            #expect(error.code == MCPError.invalidParams && error.message.contains("There is no tool"), "\(error)")
        }
    }

    @Test func `a tool that says it failed is recorded as that, and a failed call as that`() async throws {
        let upstream = ToolUpstream { id, tool, connection in
            if tool == "delete_all" {
                try await ToolUpstream.send(
                    connection, #"{"jsonrpc":"2.0","id":\#(id),"error":{"code":-32050,"message":"no","data":{"a":1}}}"#)
            } else {
                try await ToolUpstream.text("broken", isError: true)(id, tool, connection)
            }
        }
        try await Stage.withTools(upstream) { stage, gateway, client in
            _ = try await client.call("tools__echo").get()
            guard case .failure(let error) = try await client.call("tools__delete_all") else { throw NeverHappenedHere() }
            #expect(error == MCPError(-32050, "no", data: #"{"a":1}"#))
            #expect(try await stage.toolCalls() == ["echo allow tool_error", "delete_all allow error"])
            try await stage.expectSound(gateway)
        }
    }

    @Test func `progress comes under the client's own token, and the server's requests are answered`() async throws {
        let upstream = ToolUpstream { id, _, connection in
            // What we put in as the token, to be told back.
            try await connection.send(Upstream.head("text/event-stream"))
            for event in [
                #"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}"#,
                #"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"somebody else's","progress":1}}"#,
                #"{"jsonrpc":"2.0","id":999,"result":{"content":[]}}"#,
            ] { try await connection.send(Upstream.chunk("data: \(event)\n\n")) }
            try await connection.send(
                Upstream.chunk("event: message\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"id\":\(id),\"result\":{\"content\":[]}}\n\n")
                    + Upstream.lastChunk)
        }
        try await Stage.withTools(upstream) { stage, gateway, client in
            let message = ToolClient.call("tools__echo", id: 7, meta: #"{"progressToken":42,"x":"y"}"#)
            guard case .events(let events) = await client.send(message, events: true) else { throw NeverHappenedHere() }
            var texts: [String] = []
            for await event in events { texts.append(event) }
            #expect(texts == [#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#])
            let sent = try #require(upstream.seen("tools/call").first?.body)
            #expect(sent.contains(#""x":"y""#) && sent.contains(#""progressToken":"slipway-"#), "\(sent)")
            let answer = try #require(upstream.seen("answer").first?.body)
            #expect(answer.contains(#""id":"q""#) && answer.contains("-32601"), "\(answer)")
        }
    }

    @Test func `a withdrawn call is withdrawn at its server and on record as cancelled`() async throws {
        let arrived = TestSupport.Signal()
        let upstream = ToolUpstream { _, _, connection in
            arrived.fire()
            await connection.untilClosed()
        }
        try await Stage.withTools(upstream) { stage, gateway, client in
            var client = client
            try await client.initialize()
            guard case .events(let events) = await client.send(ToolClient.call("tools__echo", id: 5), events: true) else {
                throw NeverHappenedHere()
            }
            await arrived.wait()
            // Another session's numbers are its own.
            _ = await ToolClient(gateway, stage.user).send(
                #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#)
            guard
                case .accepted = await client.send(
                    #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#)
            else { throw NeverHappenedHere() }
            for await event in events { Issue.record("an answer to a withdrawn call: \(event)") }
            #expect(try await stage.toolCalls() == ["echo allow cancelled"])
            try await eventually { !upstream.seen("notifications/cancelled").isEmpty }
            try await stage.expectSound(gateway)
        }
    }

    @Test func `a call goes on and is recorded when its client has left`() async throws {
        let (arrived, release) = (TestSupport.Signal(), TestSupport.Signal())
        let upstream = ToolUpstream { id, tool, connection in
            arrived.fire()
            await release.wait()
            try await ToolUpstream.text("late")(id, tool, connection)
        }
        try await Stage.withTools(upstream) { stage, gateway, client in
            guard case .events = await client.send(ToolClient.call("tools__echo"), events: true) else { throw NeverHappenedHere() }
            await arrived.wait()
            #expect(try await stage.toolCalls() == ["echo allow unknown"])
            release.fire()
            try await eventually { try await stage.toolCalls() == ["echo allow ok"] }
        }
    }

    @Test func `a session is taken up by another replica, and is nobody else's`() async throws {
        let upstream = ToolUpstream()
        try await Stage.withTools(upstream) { stage, gateway, client in
            var client = client
            try await client.initialize()
            _ = try await client.call("tools__echo").get()
            _ = try await client.call("tools__echo", id: 2).get()
            #expect(upstream.seen("initialize").count == 1)
            try await stage.gateway { other in
                var there = ToolClient(other, stage.user)
                there.session = client.session
                _ = try await there.call("tools__echo").get()
                var stranger = ToolClient(other, try await Stage.makeUser(stage.pool, "eve"))
                stranger.session = client.session
                guard case .refused(404, _) = await stranger.send(#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#) else {
                    throw NeverHappenedHere()
                }
                #expect(
                    try await other.tools.sessions.end(try #require(UUID(uuidString: client.session ?? "")), stranger.principal)
                        == false)
                #expect(try await there.endpoint.end(try #require(client.session), stage.user))
                guard case .refused(404, _) = await there.send(#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#) else {
                    throw NeverHappenedHere()
                }
            }
            // Its end was told to the server.
            #expect(upstream.seen("DELETE").count == 1)
        }
    }

    @Test func `a session that the server forgot is opened again, once`() async throws {
        let upstream = ToolUpstream()
        try await Stage.withTools(upstream) { stage, gateway, client in
            var client = client
            try await client.initialize()
            _ = try await client.call("tools__echo").get()
            upstream.forgetSessions()
            _ = try await client.call("tools__echo", id: 2).get()
            #expect(upstream.seen("initialize").count == 2)
            #expect(try await stage.toolCalls() == ["echo allow ok", "echo allow ok"])
        }
    }

    @Test func `what was changed or taken out of the record of tools is named`() async throws {
        try await Stage.withTools { stage, gateway, client in
            for _ in 0..<3 { _ = try await client.call("tools__echo").get() }
            let ids = try await stage.pool.query("SELECT id FROM ai_mcp_calls ORDER BY started_at, id").map {
                try $0["id", as: UUID.self]
            }
            try await stage.pool.execute("UPDATE ai_mcp_calls SET arguments = '{\"a\":1}' WHERE id = \(ids[0])")
            try await stage.pool.execute("UPDATE ai_mcp_results SET status = 'error' WHERE call_id = \(ids[1])")
            try await stage.pool.execute("DELETE FROM ai_mcp_results WHERE call_id = \(ids[2])")
            let problems = try await gateway.audit.verify().problems.map(\.message)
            #expect(problems.count == 3, "\(problems)")
            for id in ids { #expect(problems.contains { $0.contains(id.uuidString.lowercased()) }) }
            // Content may be removed: the chain holds its hash.
            try await stage.pool.execute("UPDATE ai_mcp_calls SET arguments = NULL WHERE id = \(ids[0])")
            #expect(try await gateway.audit.verify().problems.count == 2)
        }
    }
}

struct NeverHappenedHere: Error {}

import Testing

@testable import ModelAPI

@Suite struct MCPTests {
    @Test func `messages keep what they carry as it came`() throws {
        for text in [
            #"{"jsonrpc":"2.0","id":"a b","method":"x","params":{"n":1.0,"big":18446744073709551616}}"#,
            #"{"jsonrpc":"2.0","method":"notifications/x"}"#,
            #"{"jsonrpc":"2.0","id":7,"result":{"a": [ 1 ]}}"#,
            #"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no","data":{"x":1}}}"#,
        ] { #expect(try MCPMessage.parse(text).text == text) }
        #expect(
            try MCPMessage.parse("{\"jsonrpc\":\"2.0\",\r\n\"id\":1,\n\"result\":{\n}}").text
                == #"{"jsonrpc":"2.0","id":1,"result":{ }}"#)
    }

    @Test(arguments: [
        ("", MCPError.parseError), ("{", MCPError.parseError),
        (#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#, MCPError.parseError),
        ("[]", MCPError.invalidRequest), (#"{"id":1,"method":"x"}"#, MCPError.invalidRequest),
        (#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, MCPError.invalidRequest),
        (#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, MCPError.invalidRequest),
        (#"{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}"#, MCPError.invalidRequest),
        (#"{"jsonrpc":"2.0","id":1}"#, MCPError.invalidRequest), (#"{"jsonrpc":"2.0","result":{}}"#, MCPError.invalidRequest),
    ]) func `what is no message is refused with JSON-RPC's code`(text: String, code: Int) {
        do throws(MCPError) {
            let message = try MCPMessage.parse(text)
            Issue.record("\(text) was taken as \(message)")
        } catch { #expect(error.code == code) }
    }

    @Test func `no cut of a message makes the parser fail otherwise than by saying so`() {
        let whole =
            #"{"jsonrpc":"2.0","id":"x\u00e9","method":"tools/call","params":{"name":"a","arguments":{"b":[1,2,{"c":"\\"}]}}}"#
        for end in whole.utf8.indices {
            let part = String(decoding: whole.utf8[..<end], as: UTF8.self)
            #expect(throws: MCPError.self) { try MCPMessage.parse(part) }
        }
    }

    @Test func `an exchange takes its own answer alone`() {
        var exchange = MCPExchange(id: MCPID(3), progressToken: "\"t\"")
        #expect(exchange.handle(.result(id: MCPID(4), result: "{}")) == [])
        #expect(exchange.handle(.failure(id: MCPID(json: "\"3\""), MCPError(1, "x"))) == [])
        #expect(
            exchange.handle(.request(id: MCPID(1), method: "ping", params: nil)) == [.reply(.result(id: MCPID(1), result: "{}"))])
        guard
            case .reply(.failure(_, let error))? = exchange.handle(.request(id: MCPID(1), method: "roots/list", params: nil)).first
        else {
            Issue.record("nothing was answered")
            return
        }
        #expect(error.code == MCPError.methodNotFound)
        #expect(exchange.handle(.notification(method: "notifications/progress", params: #"{"progressToken":"u"}"#)) == [])
        #expect(
            exchange.handle(.notification(method: "notifications/progress", params: #"{"progressToken":"t","progress":1}"#))
                == [.progress(#"{"progressToken":"t","progress":1}"#)])
        #expect(exchange.handle(.notification(method: "notifications/tools/list_changed", params: nil)) == [.toolsChanged])
        #expect(exchange.handle(.result(id: MCPID(3), result: "{}")) == [.finished(.success("{}"))])
        #expect(exchange.handle(.result(id: MCPID(3), result: "{}")) == [], "once")
    }

    @Test func `an error without an id is the answer: the server could not read ours`() {
        var exchange = MCPExchange(id: MCPID(3))
        #expect(exchange.handle(.failure(id: nil, MCPError(-32700, "what"))) == [.finished(.failure(MCPError(-32700, "what")))])
    }

    @Test func `pages of tools follow on one another also when tools come and go`() throws {
        func tools(_ numbers: some Sequence<Int>) -> [(server: String, tool: MCPTool)] {
            numbers.compactMap { n in MCPTool(#"{"name":"t\#(1000 + n)","inputSchema":{}}"#).map { ("s", $0) } }
        }
        let first = JSONObjectText(try MCPToolPages(tools(0..<250)).result(params: nil))
        #expect(first?["tools"].flatMap(JSONText.elements)?.count == 100)
        let cursor = try #require(first?["nextCursor"])
        #expect(cursor == #""s__t1099""#)
        // The one that the cursor names is gone, and so are others before it.
        let second = JSONObjectText(try MCPToolPages(tools(90..<99) + tools(100..<250)).result(params: #"{"cursor":\#(cursor)}"#))
        let names = (second?["tools"].flatMap(JSONText.elements) ?? []).compactMap { JSONObjectText($0)?.string("name") }
        #expect(names.count == 100 && names.first == "s__t1100" && names.last == "s__t1199")
        let third = JSONObjectText(try MCPToolPages(tools(0..<250)).result(params: #"{"cursor":"s__t1199"}"#))
        #expect(third?["nextCursor"] == nil && third?["tools"].flatMap(JSONText.elements)?.count == 50)
        #expect(throws: MCPError.self) { try MCPToolPages([]).result(params: #"{"cursor":5}"#) }
    }

    @Test func `the fields of an object are changed without touching the others`() throws {
        var fields = try #require(JSONObjectText(#" { "a" : [1, 2.50] , "b\n":null,"c":{"d":"\u0041"}} "#))
        fields["a2"] = "true"
        fields["c"] = nil
        #expect(fields.text == #"{"a":[1, 2.50],"b\n":null,"a2":true}"#)
        for bad in ["", "[]", "{", #"{"a":1,"a":2}"#, #"{"a":1}x"#, #"{"a":01}"#] { #expect(JSONObjectText(bad) == nil, "\(bad)") }
    }
}

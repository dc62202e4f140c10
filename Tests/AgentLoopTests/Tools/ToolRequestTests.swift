import Testing

@testable import AgentLoop

@Suite struct ToolRequestTests {
    private func error(_ name: String, _ arguments: String) -> ArgumentError? {
        do {
            _ = try ToolRequest(name: name, arguments: arguments)
            return nil
        } catch { return error as? ArgumentError }
    }

    @Test func `every schema file belongs to a tool whose arguments it describes`() throws {
        for tool in try PromptSet().tools {
            guard case .object(let schema) = tool.inputSchema, case .object(let properties)? = schema["properties"] else {
                Issue.record("\(tool.name) has no properties")
                continue
            }
            // What the schema offers, the reader takes: an unknown field would be named in the error.
            for field in properties.keys {
                let message = error(tool.name, "{\"\(field)\": [{}]}")?.message ?? ""
                #expect(!message.contains("has no argument"), "\(tool.name).\(field)")
            }
        }
    }

    @Test func `defaults are filled in`() throws {
        #expect(try ToolRequest(name: "read_file", arguments: #"{"path":"a"}"#) == .readFile(path: "a", offset: 1, limit: 500))
        #expect(try ToolRequest(name: "list_files", arguments: "") == .listFiles(path: nil, depth: 2))
        #expect(
            try ToolRequest(name: "execute", arguments: #"{"command":"ls"}"#)
                == .execute(command: "ls", directory: nil, timeoutSeconds: 120, background: false))
        #expect(
            try ToolRequest(name: "process_signal", arguments: #"{"process":"p1"}"#)
                == .processSignal(process: "p1", signal: "terminate"))
    }

    @Test(arguments: [
        (#"{"file_path":"a","start_line":"7","max_lines":3.0}"#, ToolRequest.readFile(path: "a", offset: 7, limit: 3)),
        (#""{\"path\":\"a\"}""#, .readFile(path: "a", offset: 1, limit: 500)),
        (#"{"path":"a","offset":null,"reason":"to see it"}"#, .readFile(path: "a", offset: 1, limit: 500)),
    ])
    func `what models write differently is understood`(text: String, expected: ToolRequest) throws {
        #expect(try ToolRequest(name: "read_file", arguments: text) == expected)
    }

    @Test(arguments: [
        (#"{"cmd":"ls"}"#, "ls"),
        (#"{"command":["bash","-lc","cd a && ls"]}"#, "cd a && ls"),
        (#"{"command":["git","commit","-m","it's done"]}"#, #"git commit -m 'it'\''s done'"#),
        (#"{"command":"[\"ls\",\"-la\"]"}"#, "ls -la"),
        (#"{"command":"[ -f a ] && echo yes"}"#, "[ -f a ] && echo yes"),
    ])
    func `a command may come as words`(text: String, expected: String) throws {
        guard case .execute(let command, _, _, _) = try ToolRequest(name: "execute", arguments: text) else {
            Issue.record("not execute")
            return
        }
        #expect(command == expected)
    }

    @Test(arguments: [
        ("read_file", "{}", "path", "read_file needs 'path', which is missing."),
        ("read_file", #"{"path":"a","offset":0}"#, "offset", "offset of read_file is 0; it must be from 1 to 2147483647."),
        ("read_file", #"{"path":"a","limit":"many"}"#, "limit", "limit of read_file is a string; it must be an integer."),
        ("read_file", #"{"path":"a","limit":1.5}"#, "limit", "limit of read_file is a number; it must be an integer."),
        ("read_file", #"{"path":""}"#, "path", "path of read_file is empty; give a path."),
        (
            "read_file", #"{"path":"a\u0000b"}"#, "path",
            "path of read_file is no path: it holds a NUL byte or is longer than 4096 bytes."
        ),
        ("write_file", #"{"path":"a","content":{"a":1}}"#, "content", "content of write_file is an object; it must be a string."),
        (
            "edit_file", #"{"path":"a","old_text":"b","new_text":"c","replace_all":"maybe"}"#, "replace_all",
            "replace_all of edit_file is a string; it must be true or false."
        ),
        (
            "execute", #"{"command":"ls","timeout_seconds":90000}"#, "timeout_seconds",
            "timeout_seconds of execute is 90000; it must be from 1 to 3600."
        ),
        ("execute", #"{"command":"  "}"#, "command", "command of execute is empty; give a command."),
        (
            "execute", #"{"command":"ls","sudo":true}"#, "sudo",
            "execute has no argument 'sudo'. It takes: command, directory, timeout_seconds, background."
        ),
        (
            "process_signal", #"{"process":"p1","signal":"HUP"}"#, "signal",
            "signal of process_signal is 'HUP'; it must be one of interrupt, terminate, kill."
        ),
    ])
    func `an error names the field and what is expected`(tool: String, arguments: String, field: String, message: String) {
        let error = error(tool, arguments)
        #expect(error?.field == field)
        #expect(error?.message == message)
    }

    @Test func `an unknown tool is answered with the list of tools`() {
        let message = error("apply_patch", "{}")?.message ?? ""
        #expect(message.hasPrefix("There is no tool 'apply_patch'. The tools are: read_file, write_file,"))
    }

    @Test(arguments: ["functions.execute", "Execute", "EXECUTE"])
    func `a tool's name is read as models write it`(name: String) throws {
        #expect(ToolName(tolerant: name) == .execute)
    }

    @Test(arguments: ["{", "{\"command\":\"ls", "[1]", "nonsense", "\"text\""])
    func `what is no object is refused in words`(text: String) {
        #expect(error("execute", text)?.message.contains("JSON") == true)
    }

    @Test func `arguments nested without end are refused, not crashed on`() {
        let bomb = "{\"command\":" + String(repeating: "[", count: 100_000)
        #expect(error("execute", bomb) != nil)
    }

    @Test func `the same arguments in another order have the same canonical text`() throws {
        #expect(try JSONValue(parsing: #"{"b": [1, 2.5, true], "a": "x/y"}"#).canonicalText == #"{"a":"x/y","b":[1,2.5,true]}"#)
        #expect(try JSONValue(parsing: #"{"a":"x/y","b":[1,2.5,true]}"#).canonicalText == #"{"a":"x/y","b":[1,2.5,true]}"#)
    }
}

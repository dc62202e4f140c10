import API
import Foundation
import TestSupport
import Testing

@testable import Server

/// The client program with what nobody should type: a sentence and a status, never a crash.
@Suite(.serialized, .timeLimit(.minutes(2))) struct ClientInputTests {
    @Test func `wrong words, addresses, tokens and repositories end in a sentence that says what to do`() async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let token = try await People.token(pool, "ada", roles: [.owner])
            await pool.close()
            let server = try await ServerProcess.start(database: database.url, arguments: ["--demo-model"])
            let folder = try ServerProcess.temporaryDirectory()
            try Shell.check("mkdir repo bin && cd repo && git init -q && echo x > file && git add -A", in: folder)
            try Shell.check("git -c user.name=T -c user.email=t@example.com commit -qm one", in: folder + "/repo")
            // `env` is there, git is not.
            try Shell.check("ln -s /usr/bin/env /usr/bin/bash bin/", in: folder)
            let program = ServerProcess.binary.deletingLastPathComponent().appending(path: "slipway").path
            let usual = ["SLIPWAY_URL": server.url, "SLIPWAY_TOKEN": token, "SLIPWAY_CONFIG_DIR": folder + "/config"]

            func check(
                _ words: String, _ said: String, status: ClosedRange<Int32> = 1...1, _ more: [String: String] = [:],
                _ location: SourceLocation = #_sourceLocation
            ) throws {
                let outcome = try Shell.run("\(program) \(words)", in: folder, environment: usual.merging(more) { $1 })
                let what: Comment = "slipway \(words.prefix(60)): \(outcome.status) \(outcome.output.prefix(600))"
                #expect(status.contains(outcome.status) && outcome.output.contains(said), what, sourceLocation: location)
                #expect(!outcome.output.contains("Fatal error"), what, sourceLocation: location)
            }

            let create = "task create --model demo-scripted"
            try check("\(create) --repo /nowhere/at/all --prompt x", "There is no folder /nowhere/at/all")
            try check("\(create) --repo repo/file --prompt x", "There is no folder repo/file")
            try check("\(create) --repo . --prompt x", "is no git repository")
            try check("\(create) --repo repo --prompt x", "git is missing", ["PATH": folder + "/bin"])
            try check("\(create) --repo repo --prompt ''", "prompt", status: 1...64)
            try check("\(create) --repo repo --prompt x --max-steps -1", "steps", status: 1...64)
            try check("\(create) --repo repo --prompt x --max-steps many", "many", status: 64...64)
            try check("task show no-such-task", "no-such-task", status: 4...4)
            try check("task show ../../users", "users", status: 1...4)
            try check("task show ''", "A name or id is empty")
            try check("task show \"$(printf 'a\\nb')\"", "There is no task", status: 4...4)
            try check("task shwo x", "shwo", status: 64...64)
            try check("budget set ada -5", "dollars", status: 64...64)
            try check("budget set ada 99999999999999999999", "is no amount of dollars", status: 64...64)
            try check("budget set nobody 5", "nobody", status: 1...4)
            try check("budget set group:nobody 5", "There is no group 'nobody'", status: 4...4)
            try check("budget set organization 5 --period year", "no period", status: 1...1)
            try check("budget clear task:none --period total", "There is no task 'none'", status: 4...4)
            try check("limits set fast --requests -5", "requests", status: 1...64)
            try check("limits set fast", "needs one of --requests, --tokens and concurrency", status: 1...1)
            try check("limits set fast --requests=-5", "--requests is -5", status: 1...1)
            try check("audit retention set --content-days 0", "--content-days is 0", status: 1...1)
            let dear = "models price m --type openai --input-price 2000000 --output-price 1"
            try check(dear, "0 to 1000000 dollars", status: 64...64)
            try check("routes set r demo/m --hedge 2s --hedge-floor 4", "go with a quantile", status: 64...64)
            try check("providers set demo", "Nothing is to be changed", status: 64...64)
            try check("providers set nope --total 5", "'slipway providers list' shows them", status: 4...4)
            // An address that the server may not reach is nothing that its caller is not allowed.
            try Shell.check("\(program) mcp add near http://127.0.0.1:9/mcp", in: folder, environment: usual)
            try check("mcp tools near", "may not reach", status: 1...1)
            try check("mcp call nope__x", "slipway mcp tools", status: 4...4)
            try check("limits set fast --user nobody --requests 5", "nobody", status: 4...4)
            try check("limits set fast --provider nobody --requests 5", "There is no provider named 'nobody'", status: 4...4)
            try check("limits delete fast", "There is no limit named 'fast'", status: 4...4)
            try check("limits show fast", "There is no limit named 'fast'", status: 4...4)
            try check("tokens create --name ''", "name", status: 1...64)
            for days in [0, 367] { try check("tokens create --name x --days \(days)", "1 to 366 days", status: 64...64) }
            try check("usage --format csv --output json", "leave out either", status: 64...64)
            try check("models price m --type openai --provider no --input-price 1 --output-price 1", "named 'no'", status: 4...4)
            try check("audit hold add --session none --reason x", "There is no call of a session 'none'", status: 4...4)
            try check("audit hold add --task none --reason x", "There is no task 'none'", status: 4...4)
            try Shell.check("mkdir none && echo '{\"checkpoints\":[]}' > none.json", in: folder)
            for words in ["verify --file none.json", "check-proof none.json", "verify"] {
                try check("audit \(words) --anchor none.json", "none.json holds no checkpoints")
            }
            try Shell.check("echo '[{name: a, request: {user: ada, model: p/m}, expect: allow}]' > cases.yaml", in: folder)
            try check("policy test cases.yaml --policy none", "No policy was found in the folder none")
            try Shell.check("echo '{name: a, default: next, rules: []}' > none/a.yaml", in: folder)
            try check("policy test cases.yaml --policy none --policy none/a.yaml", "none/a.yaml is given twice")
            try check("task list --url ftp://example.com", "is no address of a server", status: 64...64)
            try check("task list --url http://127.0.0.1:1", "No answer from http://127.0.0.1:1", status: 69...69)
            try check("task list --url http://127.0.0.1:99999", "is not a URL")
            try check("task list", "not known", status: 3...3, ["SLIPWAY_TOKEN": "slip_wrong"])
            try check("task list", "control character", ["SLIPWAY_TOKEN": "a\r\nX-Evil: b"])
            try check("task list", "not signed in", status: 3...3, ["SLIPWAY_TOKEN": "", "SLIPWAY_URL": ""])
            try Shell.check("mkdir config && echo '{' > config/login.json", in: folder)
            try check("task list", "login.json is damaged", ["SLIPWAY_TOKEN": ""])
            await server.stop()
            try? FileManager.default.removeItem(atPath: folder)
        }
    }
}

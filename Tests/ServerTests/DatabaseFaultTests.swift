import API
import Core
import Foundation
import NIOConcurrencyHelpers
import Postgres
import TestSupport
import Testing

/// A database that hangs, dies, and comes back while calls and a task are under way.
@Suite(.serialized, .timeLimit(.minutes(5)), .enabled(if: Delegation.isBuilt, "run: make tools agent"))
struct DatabaseFaultTests {
    private static let cap = NanoDollars(200_000_000)

    @Test func `a database that hangs, then is killed under load, loses no answer, books nothing twice and stops no task`()
        async throws
    {
        try await OwnPostgres.with { postgres in
            try await RawServer.with(ScriptedProvider.script()) { upstream in
                let pool = postgres.pool()
                try await pool.migrated()
                let delegation = try await Delegation(url: postgres.url, pool)
                try await pool.execute(
                    "INSERT INTO ai_budget_caps (user_id, organization_id, cap) SELECT id, organization_id, \(Self.cap) FROM users")
                let server = try await delegation.start(environment: ScriptedProvider.environment(upstream))
                let client = delegation.client(server)
                let watch = BudgetWatch(pool, cap: Self.cap)
                let task = try await delegation.delegate("demo: slow steps", to: server)
                var answered: [String] = []
                try await CallLoad.with(client) { load in
                    try await load.more(20)
                    try await delegation.follow(task, on: server) { events, _ in events.contains { $0.kind == "tool_call" } }

                    postgres.freeze()
                    // Who asks is told the reason, and a balancer is told to go elsewhere.
                    try await eventually { try await client.get("/readyz").text == "not ready: the database does not answer\n" }
                    try await eventually(within: .seconds(60), "\(load.refused)") {
                        load.refused[503].map { $0.contains("atabase") || $0.contains("on record") } == true
                    }
                    #expect(try await client.get("/healthz").status == 200)
                    postgres.thaw()
                    try await load.more(40)

                    postgres.kill9()
                    try await eventually { try await client.get("/readyz").status == 503 }
                    try await postgres.start()
                    try await load.more(40)
                    try await eventually { try await client.get("/readyz").status == 200 }
                    await load.stop()
                    answered = load.answered
                }

                try await delegation.expectCompleted(task, on: server, lines: Delegation.slowSteps)
                // By the server that lived through it: no other one comes to clean up.
                try await Books(pool: pool).check(answered: answered)
                try await Books(pool: pool).verify(client)
                #expect(await watch.highest() <= Self.cap)
                await pool.close()
                try await delegation.cleanUp(task, server)
            }
        }
    }

    enum Absence: String, CaseIterable { case hangs, isGone }

    @Test(arguments: Absence.allCases)
    func `a database that is away for half a minute under load costs neither an answer nor a task`(_ absence: Absence) async throws
    {
        try await OwnPostgres.with { postgres in
            try await RawServer.with(ScriptedProvider.script()) { upstream in
                let pool = postgres.pool()
                try await pool.migrated()
                let delegation = try await Delegation(url: postgres.url, pool)
                let server = try await delegation.start(environment: ScriptedProvider.environment(upstream))
                let client = delegation.client(server)
                let task = try await delegation.delegate("demo: slow steps", to: server)
                var answered: [String] = []
                try await CallLoad.with(client) { load in
                    try await load.more(20)
                    try await delegation.follow(task, on: server) { events, _ in events.contains { $0.kind == "tool_call" } }
                    let end = ContinuousClock.now + .seconds(30)
                    switch absence {
                    case .hangs: postgres.freeze()
                    case .isGone: postgres.kill9()
                    }
                    try await eventually { try await client.get("/readyz").status == 503 }
                    // The length of the outage is what is asked for here.
                    try await Task.sleep(until: end)
                    #expect(try await client.get("/healthz").status == 200)
                    // Whoever was not answered was told why, and nothing else.
                    #expect(Set(load.refused.keys) == [503], "\(load.refused)")
                    let words = (load.refused[503] ?? "").split(separator: "\n")
                    #expect(words.allSatisfy { $0.contains("atabase") || $0.contains("on record") }, "\(Set(words))")
                    switch absence {
                    case .hangs: postgres.thaw()
                    case .isGone: try await postgres.start()
                    }
                    try await load.more(40)
                    try await eventually { try await client.get("/readyz").status == 200 }
                    await load.stop()
                    answered = load.answered
                }
                try await delegation.expectCompleted(task, on: server, lines: Delegation.slowSteps)
                try await Books(pool: pool).check(answered: answered)
                try await Books(pool: pool).verify(client)
                await pool.close()
                try await delegation.cleanUp(task, server)
            }
        }
    }

    @Test func `the embedded database is started again when it is killed under load, and the books agree`() async throws {
        try await RawServer.with(ScriptedProvider.script()) { upstream in
            let server = try await ServerProcess.start(database: nil, environment: ScriptedProvider.environment(upstream))
            let pool = try Self.pool(of: server)
            let client = Client(server, token: try await People.token(pool, "ada", roles: [.owner]))
            var answered: [String] = []
            try await CallLoad.with(client) { load in
                try await load.more(20)
                for _ in 0..<2 {
                    let postmaster = try Self.postmaster(of: server)
                    kill(postmaster, SIGKILL)
                    try await eventually { (try? Self.postmaster(of: server)) != postmaster }
                    try await load.more(40)
                }
                await load.stop()
                answered = load.answered
            }
            #expect(server.logText.contains("the embedded database ended, it is started again"))
            try await Books(pool: pool).check(answered: answered)
            try await Books(pool: pool).verify(client)
            await pool.close()
            await server.stop()
        }
    }

    /// Of the server's own cluster.
    static func pool(of server: ServerProcess) throws -> PostgresPool {
        let folder = server.directory + "/postgres"
        let password = try String(contentsOfFile: folder + "/password", encoding: .utf8).trimmingCharacters(
            in: .whitespacesAndNewlines)
        return PostgresPool(
            configuration: .init(
                url: Secret("postgresql:///postgres?host=\(folder)/run&user=slipway&password=\(password)"), maxConnections: 4,
                acquireTimeout: .seconds(30)), logger: .silent)
    }

    static func postmaster(of server: ServerProcess) throws -> pid_t {
        let text = try String(contentsOfFile: server.directory + "/postgres/data/postmaster.pid", encoding: .utf8)
        return try #require(text.split(separator: "\n").first.flatMap { pid_t($0) })
    }
}

/// Looks every 10 ms at what is spent and held, as long as the database answers.
private struct BudgetWatch {
    private let isOver = NIOLockedValueBox(false)
    private let watching: Task<NanoDollars, Never>

    init(_ pool: PostgresPool, cap: NanoDollars) {
        let isOver = isOver
        // Awaited by `highest`.
        watching = Task {
            var highest = NanoDollars.zero
            while !isOver.withLockedValue({ $0 }) {
                for row in (try? await pool.query("SELECT spent + held AS taken FROM ai_budgets")) ?? [] {
                    highest = max(highest, (try? row["taken"]) ?? .zero)
                }
                try? await Task.sleep(for: .milliseconds(10))
            }
            return highest
        }
    }

    func highest() async -> NanoDollars {
        isOver.withLockedValue { $0 = true }
        return await watching.value
    }
}

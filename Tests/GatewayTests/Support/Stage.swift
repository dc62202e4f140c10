import AuditProof
import Core
import Foundation
import HTTPTransport
import Logging
import ModelAPI
import NIOCore
import Policies
import Postgres
import Telemetry
import TestSupport
import Testing

@testable import Gateway

/// A gateway with a real database, a real upstream on a socket, and a user who may call.
final class Stage: Sendable {
    let pool: PostgresPool
    let transport: HTTPTransport
    let upstream: String
    let user: Principal
    let keys: KeyRing

    private init(_ pool: PostgresPool, _ transport: HTTPTransport, _ upstream: String, _ user: Principal, _ keys: KeyRing) {
        self.pool = pool
        self.transport = transport
        self.upstream = upstream
        self.user = user
        self.keys = keys
    }

    static let organization = OrganizationID("00000000-0000-7000-8000-000000000001")!
    static let model = "test-model"

    /// - Parameter script: what the upstream does with each connection.
    static func with<R: Sendable>(
        maxConnections: Int = 12, _ script: @escaping RawServer.Script = Upstream.answer(), _ body: (Stage) async throws -> R
    ) async throws -> R {
        try await places.use {
            try await withDatabase(maxConnections: maxConnections) { pool in
                try await RawServer.with(script) { server in
                    let transport = HTTPTransport(logger: .quiet)
                    let url = String(server.url.dropLast())
                    do {
                        let stage = Stage(
                            pool, transport, url, try await makeUser(pool, "ada"),
                            try KeyRing(text: KeyRing.generatedText(id: "k1")))
                        let result = try await body(stage)
                        await transport.shutdown()
                        return result
                    } catch {
                        await transport.shutdown()
                        throw error
                    }
                }
            }
        }
    }

    private static let places = Places(16)

    static func makeUser(_ pool: PostgresPool, _ name: String, roles: Set<Role> = [.member]) async throws -> Principal {
        let id = UserID()
        try await pool.execute(
            """
            INSERT INTO users (id, organization_id, username, email, roles)
            VALUES (\(id), \(organization), \(name), \(name + "@example.org"), \(roles.sorted().map(\.rawValue)))
            """)
        return Principal(organization: organization, user: id, username: name, roles: roles)
    }

    /// A dollar per million tokens of input, ten of output; $0.001 and $0.01 per thousand.
    static let price = PriceClasses(
        input: .init(1_000_000), cacheRead: .init(100_000), cacheWrite5m: .init(1_000_000), cacheWrite1h: .init(1_000_000),
        output: .init(10_000_000))

    static func book() throws -> PriceBook {
        PriceBook(
            try ProviderType.allCases.map {
                try ModelPrice(
                    providerType: $0, model: model, validFrom: Date(timeIntervalSince1970: 0), validTo: nil, organization: nil,
                    body: .init(contextTokens: 200_000, maxOutputTokens: 4000, standard: price, longContext: nil))
            })
    }

    func provider(_ name: String, _ type: ProviderType, url: String? = nil) -> Provider {
        Provider(
            id: ProviderID(), organization: Self.organization, name: name, displayName: name, type: type, baseURL: url ?? upstream,
            isEnabled: true, allowsPrivateAddresses: true, origin: .environment,
            keys: [.init(secret: Secret("sk-secret-of-the-provider"), hint: "sk-s...ider")])
    }

    /// Runs `body` with a gateway of a replica that is alive; several may run at once.
    func gateway<R: Sendable>(
        pool: PostgresPool? = nil, url: String? = nil, providers: [Provider] = [], timeouts: HTTPClientRequest.Timeouts = .init(),
        isAlive: Bool = true, limits: Admission.Limits = .init(), contact: DatabaseContact.Bounds = .init(needed: .zero),
        metrics: Metrics = Metrics(), tracer: Tracer? = nil, namesUsers: Bool = false, programs: (any ToolProgramStarter)? = nil,
        _ body: (Gateway) async throws -> R
    ) async throws -> R {
        let replica = ReplicaID()
        if isAlive {
            try await self.pool.execute(
                """
                INSERT INTO replicas (id, internal_url, host, epoch, version, seen_at)
                VALUES (\(replica), 'http://localhost', 'here', nextval('replica_epochs'), 'test', now() + interval '1 hour')
                """)
        }
        let gateway = Gateway(
            GatewayConfiguration(
                pool: pool ?? self.pool, transport: transport, keys: keys, replica: replica, prices: try Self.book(),
                fixedProviders: [
                    provider("anthropic", .anthropic, url: url), provider("openai", .openai, url: url),
                    provider("gemini", .gemini, url: url), provider("azure", .azure, url: (url ?? upstream) + "/openai/v1"),
                ] + providers,
                limits: limits, timeouts: timeouts,
                checkpoints: .init(interval: .seconds(3600), entries: 1_000_000),
                // All tests at once are a busy machine; those with a pool of their own are about a database that is away.
                patience: pool == nil ? .seconds(60) : .seconds(5), contact: contact, metrics: metrics, tracer: tracer,
                namesUsers: namesUsers, programs: programs, logger: .quiet))
        try await gateway.start()
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await gateway.run() }
            let result = try await body(gateway)
            await gateway.drain(grace: .seconds(5))
            group.cancelAll()
            return result
        }
    }

    func call(
        _ body: String, provider: String = "anthropic", route: String? = nil, method: String = "POST",
        headers: [(name: String, value: String)] = [], as principal: Principal? = nil, origin: GatewayCall.Origin = .http
    ) -> GatewayCall {
        GatewayCall(
            principal: principal ?? user, provider: provider,
            route: route ?? (provider == "openai" ? "v1/chat/completions" : "v1/messages"),
            method: method, headers: headers, body: ByteBuffer(string: body), origin: origin, requestID: "req-1")
    }

    static func messages(_ prompt: String = "hi", stream: Bool = false, maxTokens: Int = 1000, model: String = Stage.model)
        -> String
    {
        """
        {"model": "\(model)",  "max_tokens": \(maxTokens), "stream": \(stream), "unknown_field": {"a" : [1,2 , 3]},
         "messages": [{"role": "user", "content": "\(prompt)"}]}
        """
    }

    static func chat(_ prompt: String = "hi", stream: Bool = false, maxTokens: Int = 1000, extra: String = "") -> String {
        """
        {"model":"\(model)","max_tokens":\(maxTokens),"stream":\(stream),\(extra)"messages":[{"role":"user","content":"\(prompt)"}]}
        """
    }

    func setCap(_ dollars: String, _ gateway: Gateway, user: Principal? = nil) async throws {
        try await gateway.budgets.set(self.user, user: (user ?? self.user).user, cap: NanoDollars(dollars: dollars)!)
    }

    /// - Parameter policy: its text, which says its name.
    @discardableResult
    func put(_ gateway: Gateway, _ policy: String, base: Int? = nil) async throws -> PolicyVersion {
        try await gateway.policies.put(user, name: PolicyReader.read(policy).name, source: policy, base: base)
    }

    // MARK: Looking

    struct LedgerLine: Sendable, Equatable {
        var state: String
        var status: String
        var input: Int
        var output: Int
        var cost: NanoDollars
        var hold: NanoDollars
        var overrun: NanoDollars
        var httpStatus: Int?
        var error: String?
    }

    /// All that was booked, oldest first.
    func ledger() async throws -> [LedgerLine] {
        try await pool.query(
            """
            SELECT l.state, i.status, l.input_tokens, l.output_tokens, l.cost, l.hold, l.overrun, i.http_status, i.error
            FROM ai_ledger l JOIN ai_interceptions i ON i.id = l.interception_id ORDER BY i.started_at, i.id
            """
        ).map { row in
            LedgerLine(
                state: try row["state"], status: try row["status"], input: try row["input_tokens"],
                output: try row["output_tokens"],
                cost: try row["cost"], hold: try row["hold"], overrun: try row["overrun"], httpStatus: try row["http_status"],
                error: try row["error"])
        }
    }

    func count(_ table: String, _ condition: String = "true") async throws -> Int {
        try await pool.query("SELECT count(*) AS n FROM \(unsafeSQL: table) WHERE \(unsafeSQL: condition)")[0]["n"]
    }

    /// Everything the gateway promises of the tables when nothing is under way.
    func expectSound(_ gateway: Gateway, _ location: SourceLocation = #_sourceLocation) async throws {
        let report = try await gateway.audit.verify()
        #expect(report.problems == [], sourceLocation: location)
        // The same from a file, without the database.
        var check = ExportCheck()
        var text = ""
        try await gateway.audit.export.run { text += $0 }
        for line in text.split(separator: "\n") { try check.add(line: Data(line.utf8)) }
        #expect(check.finish().problems == [], sourceLocation: location)
        #expect(try await count("ai_holds") == 0, sourceLocation: location)
        #expect(try await count("ai_interceptions", "status = 'open'") == 0, sourceLocation: location)
        #expect(try await count("ai_budgets", "held <> 0") == 0, sourceLocation: location)
        #expect(try await count("ai_rate_counters", "open <> 0") == 0, sourceLocation: location)
    }
}

extension GatewayAnswer {
    func text() async -> String {
        var all = ByteBuffer()
        for await var piece in body { all.writeBuffer(&piece) }
        return String(buffer: all)
    }

    func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name }?.value }
}

extension Logger {
    static var quiet: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = ProcessInfo.processInfo.environment["TEST_LOG"] == nil ? .critical : .debug
        return logger
    }
}

import AuditProof
import Core
import Foundation
import ModelAPI
import NIOCore
import Policies
import Testing

@testable import Gateway

@Suite struct RuleTests {
    // MARK: Holds

    private func budget(_ id: Int64, cap: Int64?, spent: Int64 = 0, held: Int64 = 0) -> HoldPlan.Budget {
        .init(id: id, cap: cap.map { NanoDollars($0) }, spent: NanoDollars(spent), held: NanoDollars(held))
    }

    @Test func `a plan gives the whole demand, then what is left, then nothing`() {
        var plan = HoldPlan([budget(1, cap: 1000, spent: 200, held: 100)])
        let demand = HoldDemand(full: NanoDollars(300), least: NanoDollars(100))
        #expect(plan.take(demand, from: [1]) == .granted(NanoDollars(300)))
        #expect(plan.take(demand, from: [1]) == .granted(NanoDollars(300)))
        #expect(plan.take(demand, from: [1]) == .granted(NanoDollars(100)))
        #expect(plan.take(demand, from: [1]) == .refused(budget: 1, left: .zero))
        #expect(plan.taken.map(\.taken) == [NanoDollars(700)])
    }

    @Test func `every budget that applies gives the same amount, and one without a cap gives anything`() {
        var plan = HoldPlan([budget(1, cap: nil), budget(2, cap: 50), budget(3, cap: 70)])
        let demand = HoldDemand(full: NanoDollars(60), least: NanoDollars(10))
        #expect(plan.take(demand, from: [1, 2, 3]) == .granted(NanoDollars(50)))
        #expect(plan.taken.map(\.id) == [1, 2, 3])
        #expect(plan.take(demand, from: [3]) == .granted(NanoDollars(20)))
        #expect(plan.take(demand, from: [2]) == .refused(budget: 2, left: .zero))
    }

    @Test func `a budget that is overspent says that nothing is left`() {
        var plan = HoldPlan([budget(1, cap: 100, spent: 150)])
        #expect(plan.take(.init(full: NanoDollars(5), least: NanoDollars(5)), from: [1]) == .refused(budget: 1, left: .zero))
        var free = HoldPlan([budget(1, cap: 100, spent: 150)])
        #expect(free.take(.init(full: .zero, least: .zero), from: [1]) == .refused(budget: 1, left: .zero))
    }

    @Test func `a streamed call can begin with its input and 256 tokens, a plain one needs everything`() throws {
        let price = try #require(
            try Stage.book().price(of: Stage.model, type: .anthropic, organization: Stage.organization, at: Date()))
        let stream = HoldDemand(price: price, inputTokens: 1000, outputTokens: 4000, webSearches: 0, canBeCut: true)
        #expect(stream.full == NanoDollars(1_000_000 + 40_000_000))
        #expect(stream.least == NanoDollars(1_000_000 + 2_560_000))
        let plain = HoldDemand(price: price, inputTokens: 1000, outputTokens: 4000, webSearches: 0, canBeCut: false)
        #expect(plain.least == plain.full && plain.full == stream.full)
        let short = HoldDemand(price: price, inputTokens: 0, outputTokens: 10, webSearches: 0, canBeCut: true)
        #expect(short.least == short.full)
    }

    // MARK: Policies

    @Test func `without policies all models are allowed, with one only what it names, and each decision names its rule`() throws {
        let member = Principal(organization: Stage.organization, user: UserID(), username: "m", roles: [.member])
        let admin = Principal(organization: Stage.organization, user: UserID(), username: "a", roles: [.admin])
        func policy(_ name: String, _ models: [String], roles: Set<Role> = [], users: Set<UserID> = []) -> ModelPolicy {
            ModelPolicy(organization: Stage.organization, name: name, models: models, roles: roles, users: users)
        }
        func decide(_ policies: [ModelPolicy], _ principal: Principal, _ model: String) throws -> PolicyDecision {
            let snapshot = PolicySnapshot(models: policies, builtIn: try BuiltInPolicy.read())
            var facts = PolicyFacts(username: principal.username, roles: principal.roles, provider: "p", model: model, at: Date())
            facts.user = principal.user
            return snapshot.set(of: Stage.organization).decide(facts)
        }
        #expect(try decide([], member, "m").rule == "default/default")
        let policies = [policy("admins", ["p/big"], roles: [.admin]), policy("everybody", ["p/small*"])]
        #expect(try decide(policies, admin, "big").rule == "model-policies/admins")
        #expect(try decide(policies, member, "small-2").rule == "model-policies/everybody")
        let denied = try decide(policies, member, "big")
        #expect(denied.effect == .deny && denied.rule == "model-policies/default")
        #expect(denied.reason.contains("'big'") && denied.reason.contains("member"))
        let named = [policy("one", ["p/*"], users: [member.user])]
        #expect(try decide(named, member, "x").rule == "model-policies/one")
        #expect(try decide(named, admin, "x").effect == .deny)
    }

    // MARK: Prices

    @Test func `the price book that is built in has sound prices for both kinds of provider and the scripted model`() throws {
        let book = try PriceBook.load()
        let now = Date(timeIntervalSince1970: 1_795_000_000)
        for (type, model) in [
            (ProviderType.anthropic, "claude-sonnet-4-5"), (.anthropic, "claude-haiku-4-5-20251001"), (.openai, "gpt-5"),
            (.anthropic, "demo-scripted"), (.openai, "demo-scripted"),
        ] {
            let price = try #require(book.price(of: model, type: type, organization: Stage.organization, at: now), "\(model)")
            #expect(price.standard.input.value > 0 && price.standard.output.value > price.standard.input.value)
        }
        let sonnet = try #require(book.price(of: "claude-sonnet-4-5", type: .anthropic, organization: Stage.organization, at: now))
        let usage = Usage(input: 1000, cacheRead: 2000, cacheWrite5m: 400, cacheWrite1h: 100, output: 500)
        // 1000·3 + 2000·0.30 + 400·3.75 + 100·6 + 500·15 dollars per million.
        #expect(sonnet.cost(of: usage) == NanoDollars(3_000_000 + 600_000 + 1_500_000 + 600_000 + 7_500_000))
        let long = Usage(input: 1, cacheRead: 200_000, output: 1)
        #expect(sonnet.cost(of: long) == NanoDollars(6_000 + 120_000_000 + 22_500))
        #expect(book.price(of: "gpt-5", type: .anthropic, organization: Stage.organization, at: now) == nil)
    }

    @Test func `a price counts from its beginning to its end, the newer one wins, and a custom one before all`() throws {
        func price(_ from: Double, _ to: Double?, _ input: Int64, _ organization: OrganizationID? = nil) throws -> ModelPrice {
            var classes = Stage.price
            classes.input = .init(input)
            return try ModelPrice(
                providerType: .openai, model: "m", validFrom: Date(timeIntervalSince1970: from),
                validTo: to.map { Date(timeIntervalSince1970: $0) }, organization: organization,
                body: .init(contextTokens: 10, maxOutputTokens: 5, standard: classes, longContext: nil))
        }
        var book = PriceBook([try price(100, 300, 1), try price(200, nil, 2)])
        func input(_ at: Double, _ organization: OrganizationID = Stage.organization) -> Int64? {
            book.price(of: "m", type: .openai, organization: organization, at: Date(timeIntervalSince1970: at))?.standard.input
                .value
        }
        #expect(input(99) == nil)
        #expect(input(100) == 1)
        #expect(input(250) == 2)
        book.add(try price(400, nil, 3, Stage.organization), for: Stage.organization)
        #expect(input(399) == 2)
        #expect(input(400) == 3)
        #expect(input(400, OrganizationID()) == 2)
    }

    @Test func `rules may name every protocol that calls have`() {
        let names = ModelProtocol.allCases.map(\.rawValue) + [EmbeddingSummary.Format.recorded]
        #expect(Set(PolicyProtocol.allCases.map(\.rawValue)) == Set(names))
    }

    @Test func `a price file that is wrong is refused with its place`() {
        for (text, part) in [
            ("{", "p.json"), (#"{"provider_type":"x","source":"","models":[]}"#, "provider_type"),
            (
                #"{"provider_type":"openai","source":"","models":[{"model":"m","valid_from":"2025-01-01T00:00:00Z","context_tokens":5,"max_output_tokens":5,"price":{"input":"-1","output":"1"}}]}"#,
                "input of m is '-1'"
            ),
            (
                #"{"provider_type":"openai","source":"","models":[{"model":"m","valid_from":"2025-01-01T00:00:00Z","context_tokens":5,"max_output_tokens":9,"price":{"input":"1","output":"1"}}]}"#,
                "max_output_tokens"
            ),
            (
                #"{"provider_type":"openai","source":"","models":[{"model":"m","context_tokens":5,"max_output_tokens":5,"price":{"input":"1","output":"1"}}]}"#,
                "models[0] has no 'valid_from'"
            ),
            (
                #"{"provider_type":"openai","source":"","models":[{"model":"m","valid_from":"yesterday","context_tokens":5,"max_output_tokens":5,"price":{"input":"1","output":"1"}}]}"#,
                "models[0].valid_from is 'yesterday'; expected a time such as"
            ),
            (
                #"{"provider_type":"openai","source":"","models":[{"model":"m","valid_from":"2025-01-01T00:00:00Z","context_tokens":5,"max_output_tokens":5,"price":{"input":"1","output":"1","cache_raed":"1"}}]}"#,
                "models[0].price has no 'cache_raed'; did you mean 'cache_read'?"
            ),
            (
                #"{"provider_type":"openai","source":"","models":[{"long_contxt":[],"model":"m"}]}"#,
                "models[0] has no 'long_contxt'; did you mean 'long_context'?"
            ),
            (#"{"provider_type":"openai","source":"","models":[{"model":"m","price":1}]}"#, "models[0].price must be an object"),
            ("[]", "the file must be an object"), ("{]", "it is no valid JSON"),
        ] {
            let error = #expect(throws: AppError.self) { _ = try PriceFile.read(text, name: "p.json") }
            #expect(error?.message.contains(part) == true && error?.message.contains("p.json") == true, "\(error?.message ?? "")")
            #expect(error?.message.contains(/Dictionary|Array<|\.\./) == false, "\(error?.message ?? "")")
        }
    }

    // MARK: Bytes

    @Test func `canonical bytes differ wherever the fields do`() {
        func digest(_ fill: (inout Canonical) -> Void) -> Data {
            var canonical = Canonical("k")
            fill(&canonical)
            return canonical.digest
        }
        let all = [
            digest {
                $0.add("ab"); $0.add("c")
            },
            digest {
                $0.add("a"); $0.add("bc")
            }, digest { $0.add("abc") },
            digest { $0.add(String?.none) }, digest { $0.add("") },
            digest {
                $0.add(Int?.none); $0.add("")
            }, digest { $0.add(0) },
            digest { $0.add(Data()) }, digest { $0.add([Int64]()) }, digest { $0.add([1, 2]) },
            digest {
                $0.add(1); $0.add(2)
            },
            digest { $0.add(true) }, digest { $0.add(false) },
        ]
        #expect(Set(all).count == all.count)
    }

    @Test func `a stream is released in whole events, and its bytes stay the same`() throws {
        let text = Upstream.messageStream(["one", "zwei"]).joined()
        for size in [1, 2, 3, 7, 50, 1000] {
            var parser = SSEParser()
            var aligner = EventAligner()
            var released = ""
            var start = text.utf8.startIndex
            while start < text.utf8.endIndex {
                let end = text.utf8.index(start, offsetBy: size, limitedBy: text.utf8.endIndex) ?? text.utf8.endIndex
                let chunk = ByteBuffer(bytes: text.utf8[start..<end])
                _ = try parser.feed(chunk)
                released += String(buffer: aligner.align(chunk, open: parser.bytesSinceBoundary))
                let tail = String(decoding: released.utf8.suffix(2), as: UTF8.self)
                // A carriage return ends a line; the line feed that follows it may come with the next event.
                #expect(["", "\n\n", "\n\r", "\r\n"].contains(tail), "chunks of \(size)")
                start = end
            }
            released += String(buffer: aligner.rest())
            #expect(released == text, "chunks of \(size)")
        }
    }

    @Test func `bodies are cut at message borders, so that a longer conversation begins with the same chunks`() throws {
        func body(_ messages: Int) -> ByteBuffer {
            let list = (0..<messages).map { "{\"role\":\"user\",\"content\":\"\(String(repeating: "\($0) ", count: 700))\"}" }
            return ByteBuffer(string: "{\"model\":\"m\",\"messages\":[\(list.joined(separator: ","))]}")
        }
        func chunks(_ body: ByteBuffer) throws -> [Content.Chunk] {
            Content.chunks(of: body, messages: try RequestSummary.read(body, as: .messages).messageRanges)
        }
        let short = try chunks(body(6))
        let long = try chunks(body(9))
        #expect(short.count > 2 && long.count > short.count)
        #expect(short.dropLast().map(\.hash) == long.prefix(short.count - 1).map(\.hash))
        #expect(short.map { String(buffer: $0.bytes) }.joined() == String(buffer: body(6)))
    }

    @Test func `chunks come out of compression as they went in, and rubbish is refused`() throws {
        let plain = ByteBuffer(string: String(repeating: "the same again and again ", count: 400))
        let packed = try #require(Deflate.deflate(plain))
        #expect(packed.count < plain.readableBytes / 10)
        #expect(try Deflate.inflate(packed) == Data(plain.readableBytesView))
        #expect(Deflate.deflate(ByteBuffer(bytes: (0..<2000).map { _ in UInt8.random(in: 0...255) })) == nil)
        for rubbish in [Data(), Data([0, 0, 0, 1]), Data([0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3]), packed.dropLast(3)] {
            #expect(throws: AppError.self) { _ = try Deflate.inflate(Data(rubbish)) }
        }
    }

    @Test func `text for the database has no NUL and is cut between characters`() {
        #expect("a\0b".storable == "a\u{FFFD}b")
        #expect("aü😀".storable(upTo: 2) == "a")
        #expect("aü😀".storable(upTo: 3) == "aü")
        #expect("aü😀".storable(upTo: 6) == "aü")
        #expect("aü😀".storable(upTo: 7) == "aü😀")
    }

    @Test func `a provider's base URL is joined with the route once`() throws {
        var provider = Provider(
            id: ProviderID(), organization: Stage.organization, name: "p", displayName: "p", type: .openai,
            baseURL: "https://api.openai.com/v1", isEnabled: true, allowsPrivateAddresses: false, origin: .environment, keys: [])
        #expect(provider.url(for: "v1/chat/completions") == "https://api.openai.com/v1/chat/completions")
        #expect(provider.url(for: "chat/completions") == "https://api.openai.com/v1/chat/completions")
        provider.baseURL = "https://api.anthropic.com/"
        #expect(provider.url(for: "v1/messages?beta=true") == "https://api.anthropic.com/v1/messages?beta=true")
        for url in ["ftp://x", "https://", "https:///x", "https://u:p@x", "https://x?y", "https://x#y", "https://x y"] {
            #expect(throws: AppError.self, "\(url)") { try ProviderRules.check(baseURL: url, field: "base_url") }
        }
    }

    // MARK: Booking

    @Test func `what is booked follows from how the call ended`() throws {
        func reader(_ events: [String], streamed: Bool = true) throws -> AnswerReader {
            var reader = AnswerReader(.messages, streamed: streamed)
            try reader.feed(ByteBuffer(string: events.joined()))
            return reader
        }
        let whole = try reader(Upstream.messageStream(["x"], input: 100, output: 7))
        let half = try reader(Array(Upstream.messageStream([String(repeating: "x", count: 400)], input: 100).prefix(4)))
        let none = try reader([])
        func booked(_ cause: EndCause, _ status: Int?, _ reader: AnswerReader) -> String {
            let verdict = Verdict(cause, httpStatus: status, reader: reader, requestBytes: 800)
            return "\(verdict.state) \(verdict.ending.status) \(verdict.usage.input) \(verdict.usage.output)"
        }
        #expect(booked(.ended, 200, whole) == "final completed 100 7")
        // Some clients close as soon as they have seen the last event.
        #expect(booked(.clientLeft, 200, whole) == "final completed 100 7")
        #expect(booked(.clientLeft, 200, half) == "estimated clientLeft 100 100")
        #expect(booked(.ended, 200, half) == "estimated failed 100 100")
        #expect(booked(.cut("x"), 200, half) == "estimated cut 100 100")
        #expect(booked(.upstreamFailed(AppError(.upstream, "x")), 200, half) == "estimated failed 100 100")
        #expect(booked(.upstreamFailed(AppError(.upstream, "x")), nil, none) == "estimated failed 0 0")
        #expect(booked(.clientLeft, nil, none) == "estimated clientLeft 200 0")
        #expect(booked(.ended, 500, none) == "final failed 0 0")
    }
}

import Core
import Foundation
import ModelAPI
import Testing

@testable import Gateway

/// The rules of routing, as values.
@Suite struct RouteRuleTests {
    private func route(_ texts: String...) throws -> ModelRoute {
        ModelRoute(name: "fast", organization: Stage.organization, tiers: try ModelRoute.tiers(texts))
    }

    @Test func `targets are read as they are written`() throws {
        let route = try route("anthropic/claude-haiku-4-5", "openai/gpt-5-mini*3,azure/gpt-5-mini", "local/llama3:8b/q4")
        #expect(route.tiers.map(\.count) == [1, 2, 1])
        #expect(route.tiers[1][0] == .init(provider: "openai", model: "gpt-5-mini", weight: 3))
        #expect(route.tiers[2][0].model == "llama3:8b/q4")
        #expect(try ModelRoute.tiers(route.texts) == route.tiers)
    }

    @Test(arguments: [
        "gpt-5", "openai/", "/gpt", "Open AI/gpt", "openai/gpt*0", "openai/gpt*x", "openai/gpt*1001", "openai/g pt", "", ",",
        "openai/gpt,openai/gpt",
    ]) func `targets that are none are refused by name`(_ text: String) {
        #expect(throws: AppError.self) { try ModelRoute.tiers([text]) }
        #expect(throws: AppError.self) { try ModelRoute.tiers([]) }
        #expect(throws: AppError.self) { try ModelRoute.tiers(Array(repeating: "a/b", count: 11)) }
    }

    @Test func `tiers come in order, and within one the first by weight; a session keeps its target`() throws {
        let route = try route("a/x*3,b/x*1", "c/x")
        var firsts: [String: Int] = [:]
        for number in 0..<20_000 {
            let order = route.order(seed: "session \(number)")
            #expect(order.count == 3 && order[2].provider == "c")
            #expect(order == route.order(seed: "session \(number)"))
            firsts[order[0].provider, default: 0] += 1
        }
        // 75 %: six standard deviations of a fair draw are 370.
        #expect(abs((firsts["a"] ?? 0) - 15_000) < 370)
        // Whoever was at another target stays there when one goes.
        let smaller = try self.route("b/x*1,d/x*1")
        let larger = try self.route("b/x*1,d/x*1,e/x*1")
        for number in 0..<500 {
            let before = larger.order(seed: "\(number)")[0]
            if before.provider != "e" { #expect(smaller.order(seed: "\(number)")[0] == before) }
        }
    }

    @Test func `a circuit opens at the fifth failure in a row and lets one call try`() {
        let start = ContinuousClock.now
        var breaker = CircuitBreaker()
        for _ in 0..<4 { breaker.failed(at: start) }
        breaker.succeeded()
        for _ in 0..<4 { breaker.failed(at: start) }
        #expect(breaker.refuses(at: start) == nil)
        breaker.failed(at: start)
        #expect(breaker.refuses(at: start + .seconds(1)) == .seconds(4))
        // The trial, and nobody else meanwhile.
        #expect(breaker.refuses(at: start + .seconds(5)) == nil)
        #expect(breaker.refuses(at: start + .seconds(6)) != nil)
        breaker.failed(at: start + .seconds(7))
        #expect(breaker.refuses(at: start + .seconds(16)) == .seconds(1))
        #expect(breaker.refuses(at: start + .seconds(17)) == nil)
        breaker.succeeded()
        #expect(breaker.isFresh)
        // A trial that nobody hears of does not keep it shut for ever, and the time is bounded.
        for _ in 0..<5 { breaker.failed(at: start) }
        #expect(breaker.refuses(at: start + .seconds(5)) == nil)
        #expect(breaker.refuses(at: start + .seconds(64)) != nil)
        #expect(breaker.refuses(at: start + .seconds(65)) == nil)
        var now = start + .seconds(65)
        for _ in 0..<12 {
            breaker.failed(at: now)
            now += breaker.refuses(at: now) ?? .zero
            #expect(breaker.refuses(at: now) == nil)
        }
        breaker.failed(at: now)
        #expect(breaker.refuses(at: now) == CircuitBreaker.longest)
    }

    @Test func `further attempts are a fifth of the calls, and ten at once`() {
        var budget = RetryBudget()
        #expect((0..<20).filter { _ in budget.take() }.count == 10)
        for _ in 0..<50 { budget.called() }
        #expect((0..<20).filter { _ in budget.take() }.count == 10)
        for _ in 0..<10_000 { budget.called() }
        #expect((0..<1000).filter { _ in budget.take() }.count == RetryBudget.most)
    }

    @Test func `an error's own data say whether another attempt is worth it`() {
        func verdict(_ status: Int, _ wait: Duration? = nil) -> AttemptVerdict { .init(status: status, retryAfter: wait) }
        for status in [400, 405, 409, 413, 415, 422] { #expect(verdict(status) == .answer) }
        for status in [404, 408, 500, 502, 503, 504, 529] { #expect(verdict(status) == .otherTarget) }
        #expect(verdict(429) == .otherKey(rests: .seconds(30)))
        #expect(verdict(429, .seconds(7)) == .otherKey(rests: .seconds(7)))
        #expect(verdict(429, .seconds(7000)) == .otherKey(rests: .seconds(600)))
        #expect(verdict(401) == .otherKey(rests: .seconds(600)))
        func wait(_ headers: [String: String]) -> Duration? { AttemptVerdict.retryAfter { headers[$0] } }
        #expect(wait(["retry-after": "2"]) == .seconds(2))
        #expect(wait(["retry-after-ms": "250", "retry-after": "2"]) == .milliseconds(250))
        for text in ["-1", "nan", "inf", "soon", "1e300", ""] { #expect(wait(["retry-after": text]) == nil) }
    }

    @Test func `only what is listed passes`() {
        func route(_ path: String, _ method: String = "POST") -> GatewayRoute { GatewayRoute(method: method, route: path) }
        #expect(route("v1/responses") == .model(.responses))
        #expect(route("v1beta/models/gemini-2.5-pro:generateContent") == .model(.gemini))
        #expect(route("v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse") == .model(.gemini))
        #expect(route("v1beta/models/gemini-2.5-pro:countTokens") == .free)
        for path in [
            "v1/responses/resp_1", "v1/files", "v1/batches", "v1beta/models/x:batchGenerateContent", "v1beta/cachedContents",
            "v1/messages/batches", "v1beta/models/../files:generateContent", "v1/models/%2e%2e/files", "v1//messages",
        ] {
            #expect(route(path) == .unknown, "POST \(path)")
            #expect(route(path, "GET") == .unknown, "GET \(path)")
        }
        #expect(route("v1/messages", "GET") == .unknown)
    }
}

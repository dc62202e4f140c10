import Core
import Foundation
import Testing

@testable import Server

@Suite struct IdentityRuleTests {
    @Test func `attempts are limited, refill with time and are given back on success`() {
        var limiter = AttemptLimiter(capacity: 3, refill: .seconds(10))
        let begin = ContinuousClock.now
        for _ in 0..<3 { #expect(limiter.attempt("a", at: begin) == nil) }
        #expect(limiter.attempt("a", at: begin) == .seconds(10))
        #expect(limiter.attempt("b", at: begin) == nil)
        #expect(limiter.attempt("a", at: begin + .seconds(10)) == nil)
        #expect(limiter.attempt("a", at: begin + .seconds(10)) != nil)
        limiter.succeeded("a", at: begin + .seconds(10))
        #expect(limiter.attempt("a", at: begin + .seconds(10)) == nil)
    }

    @Test func `a flood of keys does not grow without bound and full buckets are forgotten first`() {
        var limiter = AttemptLimiter(capacity: 2, refill: .seconds(10), maxKeys: 10)
        let begin = ContinuousClock.now
        for number in 0..<9 { _ = limiter.attempt("old \(number)", at: begin) }
        let later = begin + .seconds(100)
        _ = limiter.attempt("guesser", at: later)
        _ = limiter.attempt("guesser", at: later)
        #expect(limiter.attempt("new", at: later) == nil)
        #expect(limiter.attempt("guesser", at: later) != nil)
    }

    @Test(
        arguments: [
            ("POST", "https://s.example", nil, true), ("POST", "https://evil.example", nil, false), ("POST", nil, nil, false),
            ("POST", "null", nil, false), ("POST", nil, "same-origin", true), ("POST", nil, "cross-site", false),
            ("POST", "https://s.example", "same-site", false), ("POST", nil, "none", true),
            ("POST", "https://evil.example", "none", false),
            ("GET", "https://evil.example", "cross-site", true), ("DELETE", "https://other.example:8443", nil, true),
            ("PUT", "http://other.example:8443", nil, false),
        ] as [(String, String?, String?, Bool)])
    func `unsafe methods need an origin of our own`(method: String, origin: String?, site: String?, isAllowed: Bool) {
        let result = OriginRule.allows(
            method: method, origin: origin, fetchSite: site, accessURL: "https://s.example", host: "other.example:8443")
        #expect(result == isAllowed)
    }

    @Test func `the cookie is host-bound over TLS and has a plain name over loopback`() {
        let secure = SessionCookie(isSecure: true).setting("v", maxAge: .seconds(60))
        #expect(secure == "__Host-slipway_session=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure")
        let plain = SessionCookie(isSecure: false)
        #expect(plain.setting("v", maxAge: .seconds(60)) == "slipway_session=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60")
        #expect(plain.value(in: "a=b; slipway_session=x; c=d") == "x")
        #expect(plain.value(in: "slipway_session=x; slipway_session=y") == nil)
        #expect(plain.value(in: "xslipway_session=x") == nil)
    }

    @Test func `a password verifies in either Unicode form and nothing else does`() async throws {
        let passwords = Passwords(cost: .init(logRounds: 4, blockSize: 8, parallelism: 1))
        let stored = try await passwords.hash(Secret("Caf\u{E9} au lait!"))
        #expect(stored.hasPrefix("$scrypt$ln=4,r=8,p=1$"))
        #expect(try await passwords.verify(Secret("Cafe\u{301} au lait!"), against: stored))
        #expect(try await !passwords.verify(Secret("Cafe au lait!"), against: stored))
        #expect(try await !passwords.verify(Secret("x"), against: nil))
        #expect(try await passwords.hash(Secret("Caf\u{E9} au lait!")) != stored)
        await #expect(throws: AppError.self) { try await passwords.hash(Secret("too short")) }
        await passwords.close()
    }

    @Test func `credentials are long, random and stored as hashes`() {
        let a = Credential.token()
        #expect(a.text.reveal().count == 5 + 43)
        #expect(a.text.reveal() != Credential.token().text.reveal())
        #expect(a.hash.count == 32)
        #expect("\(a)".contains(a.text.reveal()) == false)
        #expect(Credential.setupCode().text.reveal().wholeMatch(of: /([A-Z2-9]{4}-){3}[A-Z2-9]{4}/) != nil)
    }
}

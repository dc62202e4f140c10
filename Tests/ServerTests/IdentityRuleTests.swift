import Core
import Foundation
import Testing

@testable import Server

@Suite struct IdentityRuleTests {
    @Test func `attempts are limited, refill with time and are given back on success`() {
        let limiter = AttemptLimiter(capacity: 3, refill: .seconds(10))
        let begin = ContinuousClock.now
        var bucket: AttemptLimiter.Bucket?
        for _ in 0..<3 { #expect(limiter.attempt(&bucket, at: begin) == nil) }
        #expect(limiter.attempt(&bucket, at: begin) == .seconds(10))
        #expect(limiter.attempt(&bucket, at: begin + .seconds(10)) == nil)
        #expect(!limiter.allows(bucket, at: begin + .seconds(10)))
        #expect(limiter.attempt(&bucket, at: begin + .seconds(10)) != nil)
        limiter.succeeded(&bucket, at: begin + .seconds(10))
        #expect(limiter.attempt(&bucket, at: begin + .seconds(10)) == nil)
        // A bucket of another server, whose clock was asked later.
        #expect(limiter.attempt(&bucket, at: begin) == .seconds(10))
    }

    // MARK: Limits of log-in

    @Test func `one address cannot try many accounts, and its attempts make no keys once it is slowed down`() {
        var limits = LoginLimits()
        let now = ContinuousClock.now
        let allowed = (0..<100_000).count { limits.attempt(username: "user-\($0)", address: "192.0.2.1", at: now) == .goOn }
        #expect(allowed == 20)
        let made = Dictionary(grouping: limits.buckets.keys, by: \.kind).mapValues(\.count)
        #expect(made == [.address: 1, .pair: 20, .username: 20, .report: 30, .reports: 1])
    }

    @Test func `all addresses of an IPv6 network of one customer count as one, and so do both forms of an IPv4 address`() {
        var limits = LoginLimits()
        let now = ContinuousClock.now
        let six = (0..<40).count { limits.attempt(username: "ada", address: "2001:db8:1:2::\($0)", at: now) == .goOn }
        #expect(six == 5)
        #expect(limits.attempt(username: "ada", address: "2001:db8:1:3::1", at: now) == .goOn)
        for _ in 0..<5 { #expect(limits.attempt(username: "bob", address: "192.0.2.7", at: now) == .goOn) }
        #expect(limits.attempt(username: "bob", address: "::ffff:192.0.2.7", at: now) != .goOn)
    }

    @Test func `who guesses from everywhere locks others out but not who logged in from the same place before`() {
        var limits = LoginLimits()
        let now = ContinuousClock.now
        #expect(limits.attempt(username: "ada", address: "198.51.100.1", at: now) == .goOn)
        limits.succeeded(username: "ada", address: "198.51.100.1", at: now)
        let guesses = (0..<1000).count {
            limits.attempt(username: "ada", address: "10.0.\($0 / 250).\($0 % 250)", at: now) == .goOn
        }
        #expect(guesses == 100)
        #expect(limits.attempt(username: "ada", address: "203.0.113.9", at: now) != .goOn)
        #expect(limits.attempt(username: "ada", address: "198.51.100.1", at: now) == .goOn)
    }

    @Test func `names that no account can have share one key, however long they are`() {
        var limits = LoginLimits()
        let now = ContinuousClock.now
        let allowed = (0..<10).count { number in
            limits.attempt(username: String(repeating: "x", count: 100_000) + "\(number)", address: "192.0.2.1", at: now) == .goOn
        }
        #expect(allowed == 5)
    }

    @Test(
        arguments: [
            ("192.0.2.1", "192.0.2.1"), ("192.0.2.1:4711", "192.0.2.1"), ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("unknown", nil), ("_hidden", nil), ("", nil), ("192.0.2.1 evil", nil),
        ] as [(String, String?)])
    func `an address is read as proxies write it, and nothing else is one`(text: String, address: String?) {
        #expect(AddressRange.address(in: text) == address)
    }

    @Test(arguments: [
        ("/tasks/1?x=y#z", "/tasks/1?x=y#z"), ("/", "/tasks"), ("", "/tasks"), ("//evil.example", "/tasks"),
        ("/\\evil.example", "/tasks"),
        ("/\t/evil.example", "/tasks"), ("/\n/evil.example", "/tasks"), ("/\u{0}/evil.example", "/tasks"),
        ("/ /evil.example", "/tasks"),
        ("https://evil.example", "/tasks"), ("javascript:alert(1)", "/tasks"), ("/tasks\r\nSet-Cookie: a=b", "/tasks"),
    ])
    func `after signing in nobody is sent elsewhere`(next: String, path: String) {
        #expect(PageResponder.localPath(next) == path)
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

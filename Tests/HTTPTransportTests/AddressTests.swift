import Core
import Foundation
@testable import HTTPTransport
import NIOConcurrencyHelpers
import TestSupport
import Testing

/// Which addresses a call may reach.
@Suite(.timeLimit(.minutes(1)))
struct AddressTests {
    @Test(arguments: [
        ("127.0.0.1", "loopback"), ("127.255.0.9", "loopback"), ("0.0.0.0", "this-network"), ("10.1.2.3", "private"),
        ("172.16.0.1", "private"), ("172.31.255.255", "private"), ("192.168.9.9", "private"), ("100.64.0.1", "carrier-grade NAT"),
        ("100.127.255.255", "carrier-grade NAT"), ("169.254.169.254", "link-local"), ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"), ("192.0.2.1", "documentation"), ("198.18.0.1", "reserved"), ("::1", "loopback"),
        ("::", "unspecified"), ("::ffff:127.0.0.1", "IPv4-mapped"), ("::ffff:8.8.8.8", "IPv4-mapped"),
        ("::127.0.0.1", "IPv4-compatible"), ("64:ff9b::10.0.0.1", "private"), ("64:ff9b:1::1", "reserved"),
        ("2002:7f00:1::", "loopback"), ("2001:0:1::1", "reserved"), ("fd00::1", "private"), ("fc00::1", "private"),
        ("fe80::1", "link-local"), ("fec0::1", "reserved"), ("ff02::1", "multicast"), ("2001:db8::1", "documentation"),
        ("100::1", "reserved"), ("fe80::1%eth0", "not an internet address"), ("", "not an internet address"),
        ("0177.0.0.1", "not an internet address"),
    ])
    func `an address that is not public is refused`(text: String, reason: String) {
        #expect(AddressGuard.refusal(ofText: text) == reason)
    }

    @Test(arguments: [
        "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "11.0.0.1", "169.253.0.1",
        "223.255.255.1",
        "2606:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8", "2001:4860:4860::8888",
    ])
    func `a public address is not`(text: String) {
        #expect(AddressGuard.refusal(ofText: text) == nil)
    }

    /// The spellings are those by which filters on the text of a URL are passed by.
    @Test(arguments: ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "[::1]"])
    func `no spelling of loopback gets through`(host: String) async throws {
        let calls = NIOLockedValueBox(0)
        try await RawServer.with { connection in
            calls.withLockedValue { $0 += 1 }
            try await connection.answerAll()
        } _: { server in
            try await withTransport { transport in
                let error = try await appError {
                    _ = try await transport.send(HTTPClientRequest(url: "http://\(host):\(server.port)/"))
                }
                #expect(error.code == .forbidden)
                #expect(error.message.contains("may not reach"))
            }
        }
        #expect(calls.withLockedValue { $0 } == 0, "not even a connection was opened")
    }

    @Test func `a kept connection of an allowed call is not lent to one that is not`() async throws {
        let calls = NIOLockedValueBox(0)
        try await RawServer.with { connection in
            try await connection.answerAll { _ in
                calls.withLockedValue { $0 += 1 }
                return "ok"
            }
        } _: { server in
            try await withTransport { transport in
                _ = try await transport.send(.local(server)).body.collect(upTo: 10)
                let error = try await appError { _ = try await transport.send(HTTPClientRequest(url: server.url)) }
                #expect(error.code == .forbidden)
                #expect(error.message.contains("loopback address 127.0.0.1"))
                #expect(try await transport.send(.local(server)).status == 200)
            }
        }
        #expect(calls.withLockedValue { $0 } == 2)
    }

    @Test func `proxies of the environment are ignored`() async throws {
        setenv("http_proxy", "http://127.0.0.1:9/", 1)
        setenv("ALL_PROXY", "http://127.0.0.1:9/", 1)
        defer {
            unsetenv("http_proxy")
            unsetenv("ALL_PROXY")
        }
        try await RawServer.with {
            try await $0.answerAll()
        } _: { server in
            try await withTransport { transport in
                let answer = try await transport.send(.local(server))
                #expect(answer.status == 200)
            }
        }
    }
}

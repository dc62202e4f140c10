import AuditProof
import Core
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Gateway

/// Entries on their way to other systems.
@Suite struct SinkTests {
    /// What a collector has taken, and what it thinks of the next delivery.
    private final class Collector: Sendable {
        private struct State {
            var taken: [AuditLink] = []
            var refused = 0
            var refuses = false
            var headers: [String] = []
            var texts: [String] = []
        }

        private let state = NIOLockedValueBox(State())
        var taken: [AuditLink] { state.withLockedValue { $0.taken } }
        var refused: Int { state.withLockedValue { $0.refused } }
        var lastHeaders: [String] { state.withLockedValue { $0.headers } }
        var lastText: String { state.withLockedValue { $0.texts.last ?? "" } }
        func refuse(_ refuses: Bool) { state.withLockedValue { $0.refuses = refuses } }

        func take(_ text: String, headers: [String] = []) -> Bool {
            let links = text.split(separator: "\n").compactMap { line -> AuditLink? in
                guard case .entry(let link, .some) = try? JSONDecoder().decode(ExportLine.self, from: Data(line.utf8)) else {
                    return nil
                }
                return link
            }
            return state.withLockedValue { state in
                state.headers = headers
                state.texts.append(text)
                if state.refuses {
                    state.refused += 1
                    return false
                }
                state.taken += links
                return true
            }
        }

        var webhook: RawServer.Script {
            { connection in
                while let request = try await connection.request() {
                    let isFine = self.take(String(buffer: request.body), headers: request.lines)
                    try await connection.send("HTTP/1.1 \(isFine ? "204 No Content" : "500 Oops")\r\ncontent-length: 0\r\n\r\n")
                }
            }
        }
    }

    private func entries(_ stage: Stage) async throws -> [AuditLink] {
        try await stage.pool.query("SELECT * FROM audit_entries ORDER BY chain, n").map { try AuditLink($0) }
    }

    /// Every entry, in each chain in order; some perhaps again.
    private func expectAll(_ entries: [AuditLink], in taken: [AuditLink]) {
        for (chain, wanted) in Dictionary(grouping: entries, by: \.chain) {
            var seen: [AuditLink] = []
            for link in taken where link.chain == chain && link.n == Int64(seen.count + 1) { seen.append(link) }
            #expect(seen == wanted.sorted { $0.n < $1.n })
        }
    }

    private func makeCalls(_ stage: Stage, _ gateway: Gateway) async throws {
        try await gateway.modelPolicies.put(stage.user, name: "all", models: ["*"], roles: [], users: [])
        for _ in 0..<3 { _ = await gateway.call(stage.call(Stage.messages())).text() }
        await gateway.settle.idle()
        try await gateway.flush.wait()
    }

    @Test func `a webhook gets every entry in order, also after an outage and a restart`() async throws {
        let collector = Collector()
        try await RawServer.with(collector.webhook) { server in
            try await Stage.with { stage in
                let secret = try await stage.gateway { gateway in
                    let (_, secret) = try await gateway.sinks.add(
                        stage.user, name: "siem", url: server.url + "audit", allowPrivate: true, fromStart: true)
                    try await makeCalls(stage, gateway)
                    try await eventually { collector.taken.count >= 7 }
                    collector.refuse(true)
                    try await makeCalls(stage, gateway)
                    try await eventually { collector.refused > 0 }
                    try await eventually { try await gateway.sinks.list(stage.user)[0].failures > 0 }
                    #expect(try await gateway.sinks.list(stage.user)[0].lastError?.contains("answered 500") == true)
                    return secret
                }
                collector.refuse(false)
                try await stage.pool.execute("UPDATE audit_sinks SET next_at = now()")
                try await stage.gateway { gateway in
                    try await makeCalls(stage, gateway)
                    let all = try await entries(stage)
                    try await eventually { Set(collector.taken.map(\.link)).count >= all.count }
                    expectAll(all, in: collector.taken)
                    let headers = collector.lastHeaders.map { $0.lowercased() }
                    func header(_ name: String) -> String {
                        headers.first { $0.hasPrefix(name + ":") }.map { String($0.dropFirst(name.count + 2)) } ?? ""
                    }
                    let time = try #require(Int64(header("x-slipway-timestamp")))
                    let expected = WebhookRequest.signature(secret: secret, time: time, body: collector.lastText)
                    #expect(header("x-slipway-signature") == "sha256=" + expected)
                    #expect(WebhookRequest.signature(secret: secret, time: time, body: collector.lastText + " ") != expected)
                    try await gateway.sinks.remove(stage.user, name: "siem")
                    #expect(try await stage.count("audit_cursors", "follower LIKE 'sink/%'") == 0)
                    #expect(try await gateway.audit.verify().problems == [])
                }
            }
        }
    }

    @Test func `syslog gets framed messages with the entry in them`() async throws {
        let collector = Collector()
        let script: RawServer.Script = { connection in
            var text = String(buffer: try await connection.rest())[...]
            while let space = text.firstIndex(of: " "), let length = Int(text[..<space]) {
                let message = String(decoding: Array(text.utf8.dropFirst(text[...space].utf8.count).prefix(length)), as: UTF8.self)
                guard message.hasPrefix("<110>1 "), message.utf8.count == length, let line = message.firstIndex(of: "{") else {
                    return
                }
                _ = collector.take(String(message[line...]))
                text = text.dropFirst(text[...space].count + message.count)
            }
        }
        try await RawServer.with(script) { server in
            try await Stage.with { stage in
                try await stage.gateway { gateway in
                    let url = "syslog+tcp://127.0.0.1:\(server.port)"
                    _ = try await gateway.sinks.add(stage.user, name: "log", url: url, allowPrivate: true, fromStart: true)
                    try await makeCalls(stage, gateway)
                    let all = try await entries(stage)
                    try await eventually { Set(collector.taken.map(\.link)).count >= all.count }
                    expectAll(all, in: collector.taken)
                }
            }
        }
    }

    @Test func `private addresses are refused unless allowed, and what is no address is named`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                for url in ["http://127.0.0.1:9/", "syslog+tcp://127.0.0.1:9", "syslog+udp://127.0.0.1:9"] {
                    _ = try await gateway.sinks.add(stage.user, name: "s", url: url, allowPrivate: false, fromStart: false)
                    await #expect(throws: AppError.self, "\(url)") { try await gateway.sinks.test(stage.user, name: "s") }
                    try await gateway.sinks.remove(stage.user, name: "s")
                }
                for url in ["ftp://example.org", "syslog+tcp://", "https://u:p@example.org", "example.org", "syslog+udp://h:0"] {
                    await #expect(throws: AppError.self, "\(url)") {
                        try await gateway.sinks.add(stage.user, name: "s", url: url, allowPrivate: false, fromStart: false)
                    }
                }
            }
        }
    }

    @Test func `a sink that fails is left alone for longer each time, five minutes at most`() {
        #expect(
            (1...12).map { SinkBackoff.pause(afterFailures: $0) }
                == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300].map { .seconds($0) })
    }
}

import Core
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Gateway

/// A provider that closes a kept connection in the moment of a call: the call may have been worked on, so the second one is the gateway's
/// own, and on record.
@Suite struct KeptConnectionTests {
    @Test func `a call whose kept connection was closed is made once more, visibly, and the client notices nothing`() async throws {
        let seen = NIOLockedValueBox<[String]>([])
        let connections = NIOLockedValueBox(0)
        try await Stage.with({ connection in
            let number = connections.withLockedValue { count in
                count += 1
                return count
            }
            while let request = try await connection.request() {
                let prompt = String(buffer: request.body).contains("second") ? "second" : "first"
                seen.withLockedValue { $0.append("\(number == 1 ? "first" : "another") connection, \(prompt) call") }
                if number == 1, prompt == "second" { return }
                let answer = Upstream.message()
                try await connection.send(Upstream.head(length: answer.utf8.count) + answer)
            }
        }) { stage in
            try await stage.gateway { gateway in
                let first = await gateway.call(stage.call(Stage.messages("first")))
                #expect(first.status == 200)
                _ = await first.text()
                let second = await gateway.call(stage.call(Stage.messages("second")))
                #expect(second.status == 200 && second.header("x-slipway-attempts") == "2")
                _ = await second.text()
                #expect(
                    seen.withLockedValue { $0 } == [
                        "first connection, first call", "first connection, second call", "another connection, second call",
                    ])
                try await eventually("all is booked") { try await stage.count("ai_ledger") == 2 }
                let lines = try await stage.pool.query("SELECT error, credential_hint FROM ai_attempts ORDER BY attempt")
                #expect(lines.count == 2)
                #expect(try lines[0]["error", as: String?.self]?.hasSuffix("closed a kept connection without an answer") == true)
                #expect(try lines[0]["credential_hint", as: String.self] == lines[1]["credential_hint", as: String.self])
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `one that closes each connection without an answer fails, after as many attempts as there are ways`() async throws {
        let calls = NIOLockedValueBox(0)
        try await Stage.with({ connection in
            while try await connection.request() != nil {
                calls.withLockedValue { $0 += 1 }
                return
            }
        }) { stage in
            try await stage.gateway { gateway in
                let answer = await gateway.call(stage.call(Stage.messages()))
                #expect(answer.status == 502)
                _ = await answer.text()
                #expect(calls.withLockedValue { $0 } == 1)
            }
        }
    }
}

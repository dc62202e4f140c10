import Foundation
import NIOConcurrencyHelpers
import TestSupport

/// Clients that call a model again and again, whole and streamed, and remember what they were told.
final class CallLoad: Sendable {
    private struct State {
        var answered: [String] = []
        var refused: [Int: String] = [:]
        var broken = 0
        var isOver = false
    }

    private let state = NIOLockedValueBox(State())
    private let running: NIOLockedValueBox<Task<Void, Never>?> = .init(nil)

    /// The interceptions of all whole answers.
    var answered: [String] { state.withLockedValue { $0.answered } }
    /// A message for each status that was no 200.
    var refused: [Int: String] { state.withLockedValue { $0.refused } }

    /// Calls until `body` returns or throws.
    static func with(_ client: Client, width: Int = 12, _ body: (CallLoad) async throws -> Void) async throws {
        let load = CallLoad(client, width: width)
        do {
            try await body(load)
            await load.stop()
        } catch {
            await load.stop()
            throw error
        }
    }

    private init(_ client: Client, width: Int) {
        running.withLockedValue {
            $0 = Task { [self] in
                await withTaskGroup(of: Void.self) { group in
                    for number in 0..<width { group.addTask { await self.call(client, streamed: number.isMultiple(of: 2)) } }
                }
            }
        }
    }

    private func call(_ client: Client, streamed: Bool) async {
        while !state.withLockedValue({ $0.isOver }) {
            do {
                let answer = try await client.send(
                    "POST", ScriptedProvider.path, ScriptedProvider.body("load", streamed: streamed))
                let id = answer.header("x-slipway-interception-id") ?? "none"
                let isWhole = streamed ? answer.text == ScriptedProvider.whole : answer.text.hasSuffix("\"output_tokens\":5}}")
                state.withLockedValue { state in
                    if answer.status != 200 {
                        state.refused[answer.status, default: ""] += answer.text + "\n"
                    } else if isWhole {
                        state.answered.append(id)
                    } else {
                        state.broken += 1
                    }
                }
                if answer.status != 200 { try await Task.sleep(for: .milliseconds(50)) }
            } catch {
                state.withLockedValue { $0.broken += 1 }
                try? await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    /// Returns when `count` more answers have come.
    func more(_ count: Int, within limit: Duration = .seconds(60)) async throws {
        let goal = answered.count + count
        try await eventually(within: limit, "\(count) more answers came; refusals: \(refused)") { self.answered.count >= goal }
    }

    func stop() async {
        state.withLockedValue { $0.isOver = true }
        await running.withLockedValue { $0 }?.value
    }
}

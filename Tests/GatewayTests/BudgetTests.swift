import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore
import Postgres
import TestSupport
import Testing

@testable import Gateway

@Suite struct BudgetTests {
    @Test func `200 calls at once on a nearly spent budget over two gateways never pass the cap`() async throws {
        try await Stage.with(maxConnections: 16) { stage in
            try await stage.gateway { one in
                try await stage.gateway { two in
                    // One call holds about $0.0105 and costs $0.00006: the cap lets a few in at a time, and refuses many.
                    try await stage.setCap("0.05", one)
                    let watch = try await BudgetWatch(stage.pool)
                    let outcomes = await withTaskGroup(of: Int.self) { group in
                        for number in 0..<200 {
                            group.addTask {
                                let body = number.isMultiple(of: 3) ? Stage.messages(stream: true) : Stage.messages()
                                let answer = await (number.isMultiple(of: 2) ? one : two).call(stage.call(body))
                                _ = await answer.text()
                                return answer.status
                            }
                        }
                        return await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
                    }
                    await one.drain(grace: .seconds(5))
                    await two.drain(grace: .seconds(5))
                    let highest = try await watch.highest()
                    #expect(highest > .zero && highest <= NanoDollars(dollars: "0.05")!)
                    #expect((outcomes[200] ?? 0) > 0 && (outcomes[402] ?? 0) > 0)
                    #expect((outcomes[200] ?? 0) + (outcomes[402] ?? 0) == 200, "\(outcomes)")
                    #expect(try await stage.count("ai_ledger") == outcomes[200])
                    #expect(try await stage.count("ai_interceptions", "status = 'refused'") == outcomes[402])
                    try await stage.expectSound(one)
                }
            }
        }
    }

    @Test func `a refusal for money says what is needed and left in the words of each protocol, and is on record`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await stage.setCap("0.001", gateway)
                let messages = await gateway.call(stage.call(Stage.messages()))
                #expect(messages.status == 402 && messages.header("x-should-retry") == "false")
                let text = await messages.text()
                #expect(text.contains("billing_error") && text.contains("$0.001") && text.contains("slipway budget set"))
                let chat = await gateway.call(stage.call(Stage.chat(), provider: "openai"))
                #expect(chat.status == 429 && chat.header("x-should-retry") == "false")
                #expect(await chat.text().contains("insufficient_quota"))
                let list = try await gateway.interceptions.list(.own(stage.user), .init(), PageRequest())
                #expect(
                    list.items.map(\.status) == ["refused", "refused"] && list.items.allSatisfy { $0.error == "budget_exceeded" })
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a cost above its hold is booked in full and marked as an overrun`() async throws {
        try await Stage.with(Upstream.answer(input: 50_000, output: 5000)) { stage in
            try await stage.gateway { gateway in
                _ = await gateway.call(stage.call(Stage.messages(maxTokens: 300))).text()
                try await eventually { try await stage.count("ai_ledger") == 1 }
                let line = try await stage.ledger()[0]
                #expect(line.cost == NanoDollars(50_000_000 + 50_000_000) && line.hold < line.cost)
                #expect(line.overrun == line.cost - line.hold)
                #expect(try await gateway.budgets.show(stage.user, user: stage.user.user).spent == line.cost)
                await gateway.drain(grace: .zero)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a stream is cut where the hold ends, with an end that the protocol knows`() async throws {
        for provider in ["anthropic", "openai"] {
            let isChat = provider == "openai"
            // Far more than the budget covers, and it does not stop by itself.
            let endless: RawServer.Script = { connection in
                _ = try await connection.request()
                try await connection.send(Upstream.head("text/event-stream"))
                let piece = String(repeating: "word ", count: 40)
                let events = isChat ? Upstream.chatStream([piece], usage: false) : Upstream.messageStream([piece])
                if !isChat { try await connection.send(events.prefix(3).map(Upstream.chunk).joined()) }
                while true { try await connection.send(Upstream.chunk(events[isChat ? 0 : 3])) }
            }
            try await Stage.with(endless) { stage in
                try await stage.gateway { gateway in
                    // The input's bound and about 600 tokens.
                    try await stage.setCap("0.0065", gateway)
                    let body = isChat ? Stage.chat(stream: true, maxTokens: 4000) : Stage.messages(stream: true, maxTokens: 4000)
                    let call = stage.call(body, provider: provider)
                    let answer = await gateway.call(call)
                    #expect(answer.status == 200)
                    let text = await answer.text()
                    var reader = AnswerReader(isChat ? .chatCompletions : .messages, streamed: true)
                    try reader.feed(ByteBuffer(string: text))
                    reader.finish()
                    #expect(reader.isComplete && reader.stopReason == .maxTokens && reader.error == nil)
                    #expect(text.contains("the hold of"))
                    try await eventually { try await stage.count("ai_ledger") == 1 }
                    let line = try await stage.ledger()[0]
                    #expect(line.state == "estimated" && line.status == "cut" && line.output >= 256)
                    let budget = try await gateway.budgets.show(stage.user, user: stage.user.user)
                    #expect(budget.held == .zero && budget.spent == line.cost)
                    // What a coalesced read brings beyond the mark is all that can pass it, and it is marked.
                    #expect(budget.spent <= NanoDollars(dollars: "0.0065")! + line.overrun)
                    await gateway.drain(grace: .zero)
                    let recorded = try await gateway.contentStore.body(Stage.organization, call.id, .answer)
                    #expect(recorded.map { String(decoding: $0.bytes, as: UTF8.self) } == text)
                    try await stage.expectSound(gateway)
                }
            }
        }
    }

    @Test func `an unpriced model is refused with what to do about it, until it has a price`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let body = Stage.messages(model: "new-model")
                let refused = await gateway.call(stage.call(body))
                #expect(refused.status == 403)
                #expect(await refused.text().contains("slipway models price new-model --type anthropic"))
                let unpriced = "status = 'refused' AND policy = 'default/default price:none'"
                #expect(try await stage.count("ai_interceptions", unpriced) == 1)
                try await gateway.prices.set(stage.user, .init(type: .anthropic, model: "new-model", prices: Stage.price))
                let answer = await gateway.call(stage.call(body))
                #expect(answer.status == 200)
                _ = await answer.text()
                await gateway.drain(grace: .seconds(1))
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a policy refuses in the provider's shape, on all gateways soon`() async throws {
        try await Stage.with { stage in
            let admin = try await Stage.makeUser(stage.pool, "root", roles: [.admin])
            try await stage.gateway { one in
                try await stage.gateway { two in
                    #expect(await two.call(stage.call(Stage.messages())).status == 200)
                    try await one.modelPolicies.put(admin, name: "admins-only", models: ["anthropic/*"], roles: [.admin], users: [])
                    let began = ContinuousClock.now
                    #expect(await one.call(stage.call(Stage.messages())).status == 403)
                    try await eventually { await two.call(stage.call(Stage.messages())).status == 403 }
                    // Settings are looked at every second; a busy machine adds to it.
                    #expect(began.duration(to: .now) < .seconds(20))
                    let denied = await two.call(stage.call(Stage.messages()))
                    #expect(await denied.text().contains(#""type":"permission_error""#))
                    let allowed = await two.call(stage.call(Stage.messages(), as: admin))
                    #expect(allowed.status == 200)
                    _ = await allowed.text()
                    let list = try await two.interceptions.list(.all(admin), .init(), PageRequest())
                    #expect(list.items.contains { $0.policy == "model-policies/admins-only" })
                    #expect(list.items.contains { $0.policy == "model-policies/default" && $0.error == "policy_denied" })
                    await one.drain(grace: .seconds(1))
                    await two.drain(grace: .seconds(1))
                    try await stage.expectSound(two)
                }
            }
        }
    }
}

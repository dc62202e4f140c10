import Core
import Foundation
import ModelAPI
import Testing

@testable import Gateway

@Suite struct SessionTreeTests {
    private static let user = UserID()

    private static func part(
        _ agent: String?, of parent: String? = nil, thread: UUID = UUID(), at second: Double, cost: Int64 = 1, user: UserID = user,
        isOpen: Bool = false
    ) -> SessionTree.Part {
        SessionTree.Part(
            initiator: user, username: "ada", client: "Claude Code", thread: thread,
            agent: agent.map { ClientAgent(id: $0, parent: parent) },
            sum: .init(interceptions: 1, usage: Usage(output: 2), cost: NanoDollars(cost)), prompt: nil,
            startedAt: Date(timeIntervalSince1970: second), endedAt: isOpen ? nil : Date(timeIntervalSince1970: second + 1))
    }

    /// `a(b c)`: names with what hangs below them.
    private static func shape(_ nodes: [SessionTree.Node]) -> String {
        nodes.map { node in
            let below = shape(node.agents)
            return (node.first.agent?.id ?? "main") + (below.isEmpty ? "" : "(\(below))")
        }.joined(separator: " ")
    }

    @Test func `agents hang below who started them, at the newest thread of that one`() {
        let tree = SessionTree([
            Self.part(nil, at: 0), Self.part("a", at: 1), Self.part("b", of: "a", at: 2), Self.part("c", of: "b", at: 3),
            Self.part("d", at: 4), Self.part(nil, at: 5), Self.part("a", at: 6), Self.part("b", of: "a", at: 7),
        ])
        #expect(Self.shape(tree.threads) == "main(a(b(c)) d) main(a(b))")
        #expect(tree.total.interceptions == 8 && tree.total.cost == NanoDollars(8) && tree.total.usage.output == 16)
        #expect(tree.threads.map(\.total.cost) == [NanoDollars(5), NanoDollars(3)])
        #expect(tree.threads[0].agents[0].total.cost == NanoDollars(3) && tree.threads[0].agents[0].own.cost == NanoDollars(1))
    }

    @Test func `tool calls say more than the order of things`() {
        let (first, second) = (UUID(), UUID())
        let tree = SessionTree([
            Self.part(nil, thread: first, at: 0), Self.part(nil, thread: second, at: 1), Self.part("a", thread: first, at: 2),
        ])
        #expect(Self.shape(tree.threads) == "main(a) main")
    }

    @Test func `whatever clients claim, everything is shown once and added once`() {
        let circle = [
            Self.part("a", of: "b", at: 0), Self.part("b", of: "a", at: 1), Self.part("a", of: "b", at: 2),
            Self.part("x", of: "x", at: 3),
        ]
        let tree = SessionTree(circle)
        #expect(tree.total.interceptions == 4)
        // Agents of a main one that was never heard of have a thread of their own.
        #expect(Self.shape(tree.threads).hasPrefix("main") == false || tree.threads[0].own.interceptions == 0)
        let chain = (0..<2000).map { Self.part("a\($0)", of: $0 == 0 ? nil : "a\($0 - 1)", at: Double($0)) }
        let deep = SessionTree([Self.part(nil, at: -1)] + chain)
        #expect(deep.total.interceptions == 2001)
        var depth = 0
        var node = deep.threads.first
        while let next = node?.agents.first {
            depth += 1
            node = next
        }
        #expect(depth == SessionTree.deepest)
    }

    @Test func `users who claim the same session are kept apart`() {
        let other = UserID()
        let tree = SessionTree([
            Self.part(nil, at: 0), Self.part(nil, at: 1, user: other), Self.part("a", at: 2), Self.part("a", at: 3, user: other),
        ])
        #expect(Self.shape(tree.threads) == "main(a) main(a)")
        #expect(tree.threads.map(\.total.interceptions) == [2, 2])
    }

    @Test func `what is open has no end`() {
        let thread = UUID()
        let tree = SessionTree([
            Self.part(nil, thread: thread, at: 0), Self.part("a", at: 1), Self.part("a", at: 2, isOpen: true),
            Self.part(nil, thread: thread, at: 9),
        ])
        #expect(tree.threads.map(\.endedAt) == [Date(timeIntervalSince1970: 10)])
        #expect(tree.threads[0].agents.map(\.endedAt) == [nil])
    }
}

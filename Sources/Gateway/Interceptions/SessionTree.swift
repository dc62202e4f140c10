import Core
import Foundation
import ModelAPI

/// What a session cost, by thread and by the agents that worked for each. A pure value, built from sums that the database made.
///
/// A *thread* is what the main agent did for one prompt: calls linked by the ids of the tool calls whose results they bring. A
/// sub-agent's calls belong to the thread in which it was started: where their own tool calls do not say so, the client's word for
/// who started it does, at the newest thread of that one.
package struct SessionTree: Sendable {
    /// Calls of one agent in one thread.
    package struct Part: Sendable {
        package var initiator: UserID
        package var username: String
        package var client: String
        package var thread: UUID
        package var agent: ClientAgent?
        package var sum: Sum
        package var prompt: String?
        package var startedAt: Date
        package var endedAt: Date?
    }

    package struct Sum: Sendable, Equatable {
        package var interceptions = 0
        package var usage = Usage()
        package var cost = NanoDollars.zero

        mutating func add(_ other: Sum) {
            interceptions += other.interceptions
            usage.input += other.usage.input
            usage.cacheRead += other.usage.cacheRead
            usage.cacheWrite5m += other.usage.cacheWrite5m
            usage.cacheWrite1h += other.usage.cacheWrite1h
            usage.output += other.usage.output
            usage.reasoning += other.usage.reasoning
            usage.webSearches += other.usage.webSearches
            cost = cost + other.cost
        }
    }

    /// A thread, or an agent in one.
    package struct Node: Sendable {
        package var first: Part
        /// What it did itself.
        package var own: Sum
        /// With all that worked for it.
        package var total: Sum
        package var agents: [Node] = []
        /// Nil while a call is open.
        package var endedAt: Date?
    }

    package var threads: [Node]
    package var total: Sum

    /// Agents that say that they are deeper than this are shown at this depth.
    static let deepest = 32

    /// - Parameter parts: by when they began, the oldest first.
    package init(_ parts: [Part]) {
        var growing = Growing()
        for part in parts { growing.add(part) }
        threads = growing.finish()
        total = threads.reduce(into: Sum()) { $0.add($1.total) }
    }
}

/// Nodes in one list, each behind the one that it hangs on: so there are no circles, whatever clients claim.
private struct Growing {
    private struct Entry {
        var node: SessionTree.Node
        var parent: Int?
        var depth: Int
        var isThread: Bool
    }

    private struct Key: Hashable {
        var initiator: UserID
        /// Nil: the main agent.
        var agent: String?
    }

    private struct ThreadKey: Hashable {
        var initiator: UserID
        var thread: UUID
    }

    private struct Place: Hashable {
        var parent: Int
        var agent: String
    }

    private var entries: [Entry] = []
    private var threads: [ThreadKey: Int] = [:]
    private var agents: [Place: Int] = [:]
    /// Where each agent was seen last.
    private var newest: [Key: Int] = [:]

    mutating func add(_ part: SessionTree.Part) {
        let id = part.agent?.id
        let key = Key(initiator: part.initiator, agent: id)
        let index: Int
        if let id {
            let home = home(of: part) ?? thread(of: part, isEmpty: true)
            index = agent(id, at: home, part)
        } else {
            index = thread(of: part, isEmpty: false)
        }
        newest[key] = index
        entries[index].node.own.add(part.sum)
        if entries[index].node.own.interceptions > part.sum.interceptions {
            entries[index].node.endedAt = later(entries[index].node.endedAt, part.endedAt)
        } else {
            entries[index].node.endedAt = part.endedAt
        }
    }

    /// The node below which the agent of these calls works.
    private func home(of part: SessionTree.Part) -> Int? {
        let parent = newest[Key(initiator: part.initiator, agent: part.agent?.parent)]
        if part.agent?.parent != nil, let parent { return parent }
        return threads[ThreadKey(initiator: part.initiator, thread: part.thread)] ?? parent
            ?? newest[Key(initiator: part.initiator, agent: nil)]
    }

    private mutating func thread(of part: SessionTree.Part, isEmpty: Bool) -> Int {
        let key = ThreadKey(initiator: part.initiator, thread: part.thread)
        if let index = threads[key] { return index }
        threads[key] = append(part, below: nil, isThread: true)
        if isEmpty { entries[entries.count - 1].node.endedAt = part.endedAt }
        return entries.count - 1
    }

    private mutating func agent(_ id: String, at home: Int, _ part: SessionTree.Part) -> Int {
        var home = home
        while entries[home].depth >= SessionTree.deepest, let above = entries[home].parent { home = above }
        let place = Place(parent: home, agent: id)
        if let index = agents[place] { return index }
        agents[place] = append(part, below: home, isThread: false)
        return entries.count - 1
    }

    private mutating func append(_ part: SessionTree.Part, below parent: Int?, isThread: Bool) -> Int {
        entries.append(
            Entry(
                node: SessionTree.Node(first: part, own: .init(), total: .init(), endedAt: part.endedAt), parent: parent,
                depth: parent.map { entries[$0].depth + 1 } ?? 0, isThread: isThread))
        return entries.count - 1
    }

    private func later(_ one: Date?, _ other: Date?) -> Date? {
        guard let one, let other else { return nil }
        return max(one, other)
    }

    mutating func finish() -> [SessionTree.Node] {
        var roots: [SessionTree.Node] = []
        // Children stand behind their parents.
        for index in entries.indices.reversed() {
            entries[index].node.total.add(entries[index].node.own)
            entries[index].node.agents.reverse()
            let node = entries[index].node
            if let parent = entries[index].parent {
                entries[parent].node.total.add(node.total)
                entries[parent].node.agents.append(node)
            } else {
                roots.append(node)
            }
        }
        return roots.reversed()
    }
}

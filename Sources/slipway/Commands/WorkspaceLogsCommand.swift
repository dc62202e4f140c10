import API
import ArgumentParser
import Foundation

/// `slipway workspace logs`: what builds did, and what the agent says of itself.
struct WorkspaceLogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "What happened to a workspace: its builds, its sandbox, its agent.",
        discussion: "Shows the latest start and what came after it; --build N one build. With --output json one line a JSON object."
    )

    @OptionGroup var connection: Connection
    @Argument(help: "Name or id.") var workspace: String
    @Flag(name: .shortAndLong, help: "Go on with what comes, until Ctrl-C.") var follow = false
    @Option(help: "Only the build of this number.") var build: Int?

    /// Where reading has got to: the last line of each log.
    private struct Place {
        /// Of the logs of each build: only those that have grown are read, and the server answers when one has.
        var lengths: [String: Int]?
        var builds: [String: Int64] = [:]
        var agents: [String: Int64] = [:]
    }

    private struct Line: Codable {
        var at: Date
        var build: Int
        var source: String
        var level: String
        var stage: String
        var output: String
    }

    func run() async throws {
        try await reporting {
            let client = try connection.client()
            var place = Place()
            var outage = Outage(of: client)
            while true {
                // Nothing of a part that an outage cut off was shown: it is read again from the same place.
                let (next, lines) = try await outage.bridging("the next line") { try await news(client, place) }
                place = next
                for line in lines { try show(line) }
                // A pipe's reader follows too.
                fflush(nil)
                guard follow else {
                    if lines.isEmpty { Terminal.note("Nothing is in this log.") }
                    return
                }
            }
        }
    }

    private func news(_ client: APIClient, _ before: Place) async throws -> (Place, [Line]) {
        var place = before
        let seen = place.lengths.map { "\($0.values.reduce(0, +))" }
        let all: [WorkspaceBuild] = try await client.get(
            WorkspaceCommand.path(workspace) + "/builds", query: [("seen", seen), ("wait", seen == nil ? nil : "25")],
            wait: .seconds(25))
        let lengths = Dictionary(uniqueKeysWithValues: all.map { ($0.id, $0.logLength) })
        let known = place.lengths
        place.lengths = lengths
        var lines: [Line] = []
        for shown in wanted(all) where known?[shown.id] != shown.logLength {
            var more: [ProvisionerJobLog]
            repeat {
                more = try await client.get(
                    "\(APIPaths.workspaceBuilds)/\(shown.id)/logs", query: [("after", "\(place.builds[shown.id] ?? 0)")])
                if let last = more.last { place.builds[shown.id] = last.id }
                lines += more.map {
                    Line(
                        at: $0.createdAt, build: shown.buildNumber, source: $0.logSource, level: $0.logLevel, stage: $0.stage,
                        output: $0.output)
                }
            } while !more.isEmpty
            guard let agent = shown.agentID else { continue }
            var words: [WorkspaceAgentLog]
            repeat {
                words = try await client.get(
                    "\(APIPaths.workspaceAgents)/\(agent)/logs", query: [("after", "\(place.agents[agent] ?? 0)")])
                if let last = words.last { place.agents[agent] = last.id }
                lines += words.map {
                    Line(
                        at: $0.createdAt, build: shown.buildNumber, source: "agent", level: $0.level, stage: "Agent",
                        output: $0.output)
                }
            } while !words.isEmpty
        }
        // Of one build the server's lines come first: the agent's clock is another.
        return (place, lines.enumerated().sorted { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }.map(\.element))
    }

    /// Oldest first.
    private func wanted(_ builds: [WorkspaceBuild]) -> [WorkspaceBuild] {
        if let build { return builds.filter { $0.buildNumber == build } }
        let since = builds.firstIndex { $0.transition == "start" } ?? builds.indices.last ?? 0
        return Array(builds.prefix(since + 1).reversed())
    }

    private func show(_ line: Line) throws {
        if case .json = connection.output {
            print(String(decoding: try APICoding.encoder().encode(line), as: UTF8.self))
            return
        }
        let style: Terminal.Style? = line.level == "error" ? .red : line.level == "warn" ? .yellow : nil
        let text = Terminal.plain(line.output)
        print(
            "\(Terminal.styled(Text.time(line.at), .dim))  \(Terminal.styled(line.stage, .cyan))  "
                + (style.map { Terminal.styled(text, $0) } ?? text))
    }
}

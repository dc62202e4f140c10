import Core
import Foundation
import Yams

/// All scenarios, and the choice among them.
package struct ScenarioLibrary: Sendable {
    /// The model that plays whichever scenario the conversation asks for. `demo-scripted-NAME` plays that one scenario.
    package static let model = "demo-scripted"

    let scenarios: [Scenario]

    /// Those of `config/demo/`, as they were when this was built.
    ///
    /// - Throws: `bad_request` naming the file and the key that is wrong.
    package static func embedded() throws -> ScenarioLibrary { try ScenarioLibrary(files: Embedded.files) }

    /// Those of a folder, for scripts of one's own.
    package static func folder(_ path: String) throws -> ScenarioLibrary {
        let names = try FileManager.default.contentsOfDirectory(atPath: path)
        let files = try names.filter(isScenario).map { ($0, try String(contentsOfFile: path + "/" + $0, encoding: .utf8)) }
        return try ScenarioLibrary(files: Dictionary(uniqueKeysWithValues: files))
    }

    /// Only `.yaml` and `.json` files at the top are scenarios: below lies the sample repository that they work on.
    package init(files: [String: String]) throws {
        scenarios = try files.filter { Self.isScenario($0.key) }.sorted { $0.key < $1.key }.map { name, text in
            do {
                var scenario = try YAMLDecoder().decode(Scenario.self, from: text)  // JSON is YAML
                scenario.name = (name as NSString).deletingPathExtension
                return scenario
            } catch {
                throw AppError(.badRequest, "the scenario config/demo/\(name) cannot be read: \(Self.reason(error))", field: name)
            }
        }
    }

    private static func isScenario(_ name: String) -> Bool {
        !name.contains("/") && !name.hasPrefix(".") && ["yaml", "json"].contains((name as NSString).pathExtension)
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case DecodingError.dataCorrupted(let context):
            if let cause = context.underlyingError { return "\(cause)" }
            return at(context.codingPath) + context.debugDescription
        case DecodingError.keyNotFound(let key, let context): return at(context.codingPath) + "\"\(key.stringValue)\" is missing"
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
            return at(context.codingPath) + context.debugDescription
        default: return "\(error)"
        }
    }

    private static func at(_ path: [any CodingKey]) -> String {
        path.isEmpty ? "" : path.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".") + ": "
    }

    /// The ids of all models, the general one first.
    package var models: [String] { [Self.model] + scenarios.map { "\(Self.model)-\($0.name)" } }

    func description(ofModel id: String) -> String {
        let scenario = scenarios.first { "\(Self.model)-\($0.name)" == id }
        return scenario.map { "Scripted, no AI: \($0.description)" } ?? "Scripted demo model, no AI"
    }

    /// What the conversation gets. It depends on the messages and the model's name alone.
    func reply(to conversation: DemoConversation, model: String) -> Reply {
        guard let (scenario, start) = scenario(for: conversation, model: model) else { return unknownReply }
        let turn = conversation.turns[start...].count { $0.role == .assistant }
        let said = conversation.turns[start...].filter(\.isFromPerson).map(\.text).joined(separator: "\n")
        let newest = conversation.newestResults
        let result = newest.map(\.text).joined(separator: "\n")
        let failed = newest.contains { $0.isError }
        for rule in scenario.rules {
            if let wanted = rule.turn, wanted != turn { continue }
            if let wanted = rule.failed, wanted != failed { continue }
            if let user = rule.user, user.match(said) == nil { continue }
            var reply = rule.reply
            if let pattern = rule.result {
                guard let groups = pattern.match(result) else { continue }
                reply.text = reply.text.map { filled($0, with: groups) }
                for index in reply.calls.indices { reply.calls[index].arguments.mapStrings { filled($0, with: groups) } }
            }
            return reply
        }
        return Reply(text: "The script \"\(scenario.name)\" has no reply for turn \(turn). (Scripted demo model, not an AI.)")
    }

    private func scenario(for conversation: DemoConversation, model: String) -> (Scenario, start: Int)? {
        if let named = scenarios.first(where: { "\(Self.model)-\($0.name)" == model }) {
            let start = conversation.turns.lastIndex { $0.isFromPerson && named.when.match($0.text) != nil }
            return (named, start ?? 0)
        }
        for (index, turn) in conversation.turns.enumerated().reversed() where turn.isFromPerson {
            if let scenario = scenarios.first(where: { $0.when.match(turn.text) != nil }) { return (scenario, index) }
        }
        return nil
    }

    private func filled(_ text: String, with groups: [String]) -> String {
        groups.enumerated().dropFirst().reversed().reduce(text) { $0.replacingOccurrences(of: "$\($1.offset)", with: $1.element) }
    }

    private var unknownReply: Reply {
        let list = scenarios.map { "- \($0.name): \($0.description)" }.joined(separator: "\n")
        return Reply(
            text:
                "No script for this message\n\nThis is Slipway's demo model: it plays fixed scripts and is not an AI. It knows these:\n\(list)"
        )
    }
}

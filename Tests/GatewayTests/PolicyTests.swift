import Core
import Foundation
import Policies
import Postgres
import TestSupport
import Testing

@testable import Gateway

@Suite struct PolicyTests {
    private static let noModel = """
        name: models
        default: next
        rules:
          - id: no-test-model
            subjects: {groups: [juniors]}
            resources: {models: ["*/test-model"]}
            effect: deny
            reason: Juniors ask a senior first.
        """

    /// Of ada, who is every stage's user.
    private func join(_ stage: Stage, _ group: String) async throws {
        let id = UUID()
        try await stage.pool.execute(
            "INSERT INTO groups (id, organization_id, name) VALUES (\(id), \(Stage.organization), \(group))")
        try await stage.pool.execute("INSERT INTO group_members (group_id, user_id) VALUES (\(id), \(stage.user.user))")
    }

    // MARK: The store

    @Test func `every change is a version that stays readable, on record in the same transaction`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let first = try await stage.put(gateway, Self.noModel)
                #expect(first.version == 1 && first.actor == "ada" && first.origin == .api)
                // The same text is no change.
                #expect(try await stage.put(gateway, Self.noModel).version == 1)
                let changed = Self.noModel.replacing("juniors", with: "seniors")
                #expect(try await stage.put(gateway, changed, base: 1).version == 2)
                let conflict = await #expect(throws: AppError.self) { try await stage.put(gateway, Self.noModel, base: 1) }
                #expect(conflict?.code == .conflict)
                try await gateway.policies.delete(stage.user, name: "models")
                await #expect(throws: AppError.self) { try await gateway.policies.version(stage.user, name: "models") }
                let versions = try await gateway.policies.versions(stage.user, name: "models")
                #expect(versions.map(\.version) == [3, 2, 1])
                #expect(versions.map(\.source) == [nil, changed, Self.noModel])
                #expect(try await gateway.policies.version(stage.user, name: "models", 1).source == Self.noModel)
                #expect(try await stage.put(gateway, Self.noModel, base: 3).version == 4)

                let facts = try await stage.pool.query(
                    "SELECT kind, body, actor_id FROM audit_facts WHERE subject = 'models' ORDER BY at, body")
                #expect(
                    try facts.map { try $0["kind", as: String.self] } == [
                        "policy.put", "policy.put", "policy.delete", "policy.put",
                    ])
                #expect(try facts[0]["body", as: String.self].contains("\"version\":\"1\""))
                #expect(try facts[0]["actor_id", as: UserID.self] == stage.user.user)
                #expect(try await gateway.audit.verify().problems == [])

                // Whoever changes a version behind the server's back is found out.
                func problem(_ change: String) async throws -> [String] {
                    try await stage.pool.execute(Query(unsafeSQL: change))
                    return try await gateway.audit.verify().problems.map { "\($0.kind) \($0.subject ?? "")" }
                }
                #expect(
                    try await problem("UPDATE ai_policy_versions SET source = source || ' ' WHERE version = 2") == [
                        "changed models"
                    ])
                #expect(try await problem("DELETE FROM ai_policy_versions WHERE version = 2") == ["removed models"])
                #expect(
                    try await problem(
                        """
                        INSERT INTO ai_policy_versions (organization_id, name, version, source, origin)
                        SELECT organization_id, 'mine', 1, source, 'api' FROM ai_policy_versions WHERE version = 1
                        """) == ["inserted mine", "removed models"])
            }
        }
    }

    @Test func `a text with problems is refused with their places and changes nothing`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { (gateway: Gateway) async throws -> Void in
                let error = await #expect(throws: AppError.self) {
                    try await gateway.policies.put(
                        stage.user, name: "models",
                        source: "name: models\ndefault: next\nrules:\n  - {id: a, efect: deny}\n  - {id: b, effect: redact}\n"
                    )
                }
                #expect(error?.field == "source")
                #expect(error?.message.contains("line 4, column 13: a rule has no 'efect'; did you mean 'effect'?") == true)
                #expect(error?.message.contains("line 5, column 21: 'redact' makes no sense") == true)
                let other = await #expect(throws: AppError.self) {
                    try await gateway.policies.put(stage.user, name: "other", source: Self.noModel)
                }
                #expect(other?.field == "name")
                let reserved = Self.noModel.replacing("name: models", with: "name: model-policies")
                await #expect(throws: AppError.self) {
                    try await gateway.policies.put(stage.user, name: "model-policies", source: reserved)
                }
                #expect(try await stage.count("ai_policy_versions") == 0)
                #expect(try gateway.policies.list(stage.user).map(\.name) == ["default"])
            }
        }
    }

    @Test func `another replica decides by a change, of rules and of groups, with nobody telling it`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { one in
                try await stage.gateway { two in
                    func status() async -> Int { await two.call(stage.call(Stage.messages())).status }
                    #expect(await status() == 200)
                    try await stage.put(one, Self.noModel)
                    #expect(await status() == 200)
                    try await join(stage, "juniors")
                    // The promise is two seconds; how late a loaded machine is, is nothing that a test could say.
                    try await eventually { await status() == 403 }
                    try await one.policies.delete(stage.user, name: "models")
                    try await eventually { await status() == 200 }
                }
            }
        }
    }

    @Test func `a stored policy that this version cannot read refuses everything and names itself`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await stage.pool.execute(
                    """
                    INSERT INTO ai_policy_versions (organization_id, name, version, source, origin)
                    VALUES (\(Stage.organization), 'future', 1, 'name: future
                    default: perhaps
                    rules: []', 'api')
                    """)
                try await gateway.settings.refresh()
                let answer = await gateway.call(stage.call(Stage.messages()))
                #expect(answer.status == 403)
                let text = await answer.text()
                #expect(text.contains("future/unreadable") && text.contains("line 2"))
                // It can be put right.
                try await stage.put(gateway, "{name: future, default: next, rules: []}")
                #expect(await gateway.call(stage.call(Stage.messages())).status == 200)
            }
        }
    }

    // MARK: Calls

    @Test func `a denial names its rule in each provider's own shape and on the record, and nothing is sent`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await join(stage, "juniors")
                try await stage.put(gateway, Self.noModel)
                let messages = await gateway.call(stage.call(Stage.messages()))
                #expect(messages.status == 403)
                let anthropic = try JSONSerialization.jsonObject(with: Data(await messages.text().utf8)) as? [String: Any]
                let error = try #require(anthropic?["error"] as? [String: Any])
                #expect(anthropic?["type"] as? String == "error" && error["type"] as? String == "permission_error")
                let message = try #require(error["message"] as? String)
                #expect(message.contains("Juniors ask a senior first.") && message.contains("(policy rule models/no-test-model)"))

                let chat = await gateway.call(stage.call(Stage.chat(), provider: "openai"))
                #expect(chat.status == 403)
                let openai = try JSONSerialization.jsonObject(with: Data(await chat.text().utf8)) as? [String: Any]
                #expect(openai?["type"] == nil)
                let text = (openai?["error"] as? [String: Any])?["message"] as? String
                #expect(text?.contains("(policy rule models/no-test-model)") == true)

                #expect(
                    try await stage.count("ai_interceptions", "status = 'refused' AND policy = 'models/no-test-model'") == 2)
                try await stage.expectSound(gateway)
            }
        }
    }

    @Test func `a rule that flags lets the call pass with a mark on its record, which is part of its digest`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await stage.put(
                    gateway,
                    "{name: watch, default: next, rules: [{id: any, effect: flag}, {id: huge, effect: flag, when: {bytes: {at_least: 1000000}}}]}"
                )
                #expect(await gateway.call(stage.call(Stage.messages())).status == 200)
                #expect(try await stage.count("ai_interceptions", "policy = 'default/default flag:watch/any'") == 1)
                #expect(try await gateway.audit.verify().problems == [])
                try await stage.pool.execute("UPDATE ai_interceptions SET policy = 'default/default'")
                #expect(try await gateway.audit.verify().problems.isEmpty == false)
            }
        }
    }

    @Test func `a call that needs an approval is refused and told that nobody can give one`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await stage.put(gateway, "{name: ask, default: next, rules: [{id: always, effect: require_approval}]}")
                let answer = await gateway.call(stage.call(Stage.messages()))
                let text = await answer.text()
                #expect(answer.status == 403 && text.contains("Nobody can approve") && text.contains("ask/always"))
            }
        }
    }

    @Test func `what is spent of a budget and the class of a request decide rules`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await stage.put(
                    gateway,
                    """
                    name: saving
                    default: next
                    rules:
                      - id: nights
                        effect: deny
                        when: {class: background, budget_percent: {at_least: 50}}
                    """)
                func status(_ headers: [(name: String, value: String)] = []) async -> Int {
                    await gateway.call(stage.call(Stage.messages(), headers: headers)).status
                }
                let background = [(name: "X-Slipway-Class", value: "background")]
                #expect(await status(background) == 200)
                await gateway.settle.idle()
                try await stage.setCap("1", gateway)
                try await stage.pool.execute("UPDATE ai_budgets SET spent = 499999999 WHERE user_id = \(stage.user.user)")
                try await gateway.settings.poll()
                #expect(await status(background) == 200)
                await gateway.settle.idle()
                try await stage.pool.execute("UPDATE ai_budgets SET spent = 500000000 WHERE user_id = \(stage.user.user)")
                try await gateway.settings.poll()
                #expect(await status(background) == 403)
                #expect(await status() == 200)
            }
        }
    }

    @Test func `model policies and policies as code are one list`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                try await gateway.modelPolicies.put(stage.user, name: "none", models: ["nobody/*"], roles: [], users: [])
                #expect(await gateway.call(stage.call(Stage.messages())).status == 403)
                try await stage.put(
                    gateway, "{name: ada, default: next, rules: [{id: may, effect: allow, subjects: {users: [ada]}}]}")
                #expect(try gateway.policies.list(stage.user).map(\.name) == ["ada", "model-policies", "default"])
                #expect(await gateway.call(stage.call(Stage.messages())).status == 200)
                let order = "{name: ada, order: 2000, default: next, rules: [{id: may, effect: allow, subjects: {users: [ada]}}]}"
                try await stage.put(gateway, order)
                let answer = await gateway.call(stage.call(Stage.messages()))
                let text = await answer.text()
                #expect(answer.status == 403 && text.contains("model-policies/default"))
                try await gateway.modelPolicies.delete(stage.user, name: "none")
                #expect(await gateway.call(stage.call(Stage.messages())).status == 200)
                #expect(try await gateway.audit.verify().problems == [])
            }
        }
    }

    // MARK: Files

    @Test func `files are policies with versions, and those that are gone are deleted`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                let folder = "/tmp/slipway-policy-tests/\(UUID().uuidString)"
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
                defer { try? FileManager.default.removeItem(atPath: folder) }
                func write(_ name: String, _ text: String) throws {
                    try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
                }
                let files = PolicyFiles(
                    folder: folder, policies: gateway.policies, organization: Stage.organization, logger: .quiet)
                try await files.load()
                try write("models.yaml", Self.noModel)
                try write("README.md", "no policy")
                try await files.load()
                try await files.load()
                #expect(
                    try gateway.policies.stored(stage.user).map { "\($0.name) \($0.version) \($0.origin)" } == ["models 1 file"])
                try write("models.yaml", Self.noModel + "\n# changed")
                try await files.load()
                #expect(try gateway.policies.stored(stage.user).map(\.version) == [2])
                // One bad file changes nothing at all.
                try write("bad.yaml", "name: bad\ndefault: maybe\nrules: []")
                try write("models.yaml", Self.noModel)
                let error = await #expect(throws: AppError.self) { try await files.load() }
                #expect(error?.message.contains("bad.yaml") == true && error?.message.contains("line 2, column 10") == true)
                #expect(try gateway.policies.stored(stage.user).map(\.version) == [2])
                try write("bad.yaml", Self.noModel)
                await #expect(throws: AppError.self) { try await files.load() }
                try FileManager.default.removeItem(atPath: "\(folder)/bad.yaml")
                try FileManager.default.removeItem(atPath: "\(folder)/models.yaml")
                try await files.load()
                #expect(try gateway.policies.stored(stage.user).isEmpty)
                #expect(
                    try await gateway.policies.versions(stage.user, name: "models").map { $0.source == nil } == [
                        true, false, false,
                    ])
                try FileManager.default.removeItem(atPath: folder)
                await #expect(throws: AppError.self) { try await files.load() }
                #expect(try await gateway.audit.verify().problems == [])
            }
        }
    }
}

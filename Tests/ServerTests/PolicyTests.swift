import API
import Core
import Foundation
import TestSupport
import Testing

@testable import Server

/// Policies over the API of the real server, with the scripted model behind it.
@Suite struct PolicyTests {
    private struct Stand {
        var server: ServerProcess
        var database: TestDatabase
        var admin: Client
        var member: Client
    }

    private func withServer(_ arguments: [String] = [], _ check: (Stand) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let admin = try await People.token(pool, "root", roles: [.admin])
            let member = try await People.token(pool, "lin", roles: [.member])
            await pool.close()
            let server = try await ServerProcess.start(database: database.url, arguments: ["--demo-model"] + arguments)
            try await check(
                Stand(
                    server: server, database: database, admin: Client(server, token: admin), member: Client(server, token: member)))
            await server.stop()
        }
    }

    private func put(_ client: Client, _ name: String, _ source: String) async throws -> Client.Answer {
        try await client.send(
            "PUT", "\(APIPaths.policies)/\(name)", try APICoding.encoder().encode(PutPolicyRequest(source: source)))
    }

    private func callMessages(_ client: Client) async throws -> Client.Answer {
        try await client.with("content-type", "application/json").send(
            "POST", "/api/v2/ai-gateway/demo/v1/messages",
            Data(#"{"model":"demo-scripted","max_tokens":400,"messages":[{"role":"user","content":"demo: hello"}]}"#.utf8))
    }

    private func callChat(_ client: Client) async throws -> Client.Answer {
        try await client.with("content-type", "application/json").send(
            "POST", "/api/v2/ai-gateway/demo-openai/v1/chat/completions",
            Data(#"{"model":"demo-scripted","max_tokens":400,"messages":[{"role":"user","content":"demo: hello"}]}"#.utf8))
    }

    @Test func `a group's denial reaches its members in both providers' shapes, with the rule, and is explained and simulated`()
        async throws
    {
        try await withServer { stand in
            #expect(try await callMessages(stand.member).status == 200)
            #expect(try await stand.admin.post(APIPaths.groups, CreateGroupRequest(name: "guests")).status == 201)
            #expect(try await stand.admin.post(APIPaths.groups, CreateGroupRequest(name: "guests")).status == 409)
            #expect(try await stand.admin.post(APIPaths.groups, CreateGroupRequest(name: "No Name")).status == 400)
            #expect(try await stand.member.get(APIPaths.groups).status == 403)
            let joined = try await stand.admin.send("PUT", APIPaths.groups + "/guests/members/lin").json(API.Group.self)
            #expect(joined.members == ["lin"])
            #expect(try await stand.admin.send("PUT", APIPaths.groups + "/guests/members/nobody").status == 404)

            let source = """
                name: guests
                default: next
                rules:
                  - id: look-only
                    subjects: {groups: [guests]}
                    effect: deny
                    reason: Guests look on.
                """
            #expect(try await put(stand.member, "guests", source).status == 403)
            let bad = try await put(stand.admin, "guests", source.replacing("effect: deny", with: "effct: deny"))
            #expect(bad.status == 400 && bad.error?.message.contains("line 6, column 5") == true, "\(bad.text)")
            #expect(try await put(stand.admin, "guests", source).json(Policy.self).version == 1)

            let messages = try await callMessages(stand.member)
            #expect(messages.status == 403)
            #expect(messages.text.contains(#""type":"error""#) && messages.text.contains(#""permission_error""#))
            #expect(messages.text.contains("Guests look on.") && messages.text.contains("(policy rule guests/look-only)"))
            let chat = try await callChat(stand.member)
            #expect(chat.status == 403 && !chat.text.contains(#""type":"error""#))
            #expect(chat.text.contains("(policy rule guests/look-only)"))
            #expect(try await callMessages(stand.admin).status == 200)

            let calls = try await stand.admin.get(APIPaths.interceptions).json(InterceptionList.self).interceptions
            let refused = try #require(calls.first { $0.policy == "guests/look-only" })
            let explained = try await stand.admin.post(
                APIPaths.policies + "/explain", ExplainPoliciesRequest(interceptionID: refused.id)
            ).json(API.PolicyExplanation.self)
            #expect(explained.verdict.effect == "deny" && explained.recorded == "guests/look-only")
            #expect(explained.steps.map(\.outcome) == ["decided"])

            let simulated = try await stand.admin.post(
                APIPaths.policies + "/simulate", SimulatePoliciesRequest(policies: [], without: ["guests"])
            ).json(PolicySimulation.self)
            // Lin's first call came before the policy: by the policies of now it would be refused.
            #expect(simulated.calls == 4 && simulated.newlyAllowed == 3 && simulated.asRecorded == 3)
            #expect(Set(simulated.changes.map(\.user)) == ["lin"])

            let listed = try await stand.admin.get(APIPaths.policies).json(PolicyList.self).policies
            #expect(listed.map(\.name) == ["guests", "default"] && listed.map(\.origin) == ["api", "built_in"])
            #expect(try await stand.admin.send("DELETE", APIPaths.policies + "/guests").status == 204)
            #expect(try await callMessages(stand.member).status == 200)
            let versions = try await stand.admin.get(APIPaths.policies + "/guests/versions").json(PolicyList.self).policies
            #expect(versions.map(\.version) == [2, 1] && versions[0].isDeleted == true && versions[1].actor == "root")
            #expect(
                try await stand.admin.get(APIPaths.policies + "/guests/versions/1").json(Policy.self).source == source)
            #expect(try await stand.admin.get(APIPaths.policies + "/guests/versions/one").status == 400)
            #expect(try await stand.admin.get(APIPaths.policies + "/guests").status == 404)
            #expect(try await stand.admin.get(APIPaths.policies + "/default").json(Policy.self).origin == "built_in")
            #expect(try await stand.admin.send("DELETE", APIPaths.groups + "/guests").status == 204)
            #expect(try await stand.admin.get(APIPaths.groups).json(GroupList.self).groups.isEmpty)
            let report = try await stand.admin.send("POST", APIPaths.audit + "/verify").json(AuditVerification.self)
            #expect(report.ok, "\(report.problems)")
        }
    }

    @Test func `a server keeps its policies as files, reads them again, and does not start with a bad one`() async throws {
        let folder = try ServerProcess.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        // A server that root started reads it as the account that it then has.
        chmod(folder, 0o755)
        let path = URL(fileURLWithPath: folder + "/closed.yaml")
        try Data("name: closed\ndefault: deny\nrules: []\n".utf8).write(to: path)
        try await withServer(["--policy-dir", folder]) { stand in
            #expect(try await callMessages(stand.member).text.contains("closed/default"))
            let refused = try await put(stand.admin, "closed", "name: closed\ndefault: next\nrules: []\n")
            #expect(refused.status == 409 && refused.text.contains("--policy-dir"))
            try Data("name: closed\ndefault: maybe\nrules: []\n".utf8).write(to: path)
            try await stand.server.waitForLine(containing: "line 2, column 10")
            #expect(try await callMessages(stand.member).status == 403)
            try Data("name: closed\ndefault: next\nrules: []\n".utf8).write(to: path)
            try await stand.server.waitForLine(containing: "policies were read again")
            #expect(try await callMessages(stand.member).status == 200)
            try Data("name: closed\ndefault: [\n".utf8).write(to: path)
            let second = try ServerProcess.launch(database: nil, arguments: ["--policy-dir", folder])
            #expect(await second.ended() != 0)
            #expect(second.logText.contains("closed.yaml") && second.logText.contains("line 3"), "\(second.logText)")
            await second.stop()
        }
    }
}
